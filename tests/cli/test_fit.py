from mmppl.cli.fit import _how_to_resume


def test_how_to_resume(tmp_path):
    run = tmp_path / "my run"
    assert "nothing is kept" in _how_to_resume(run, ["fit", "cmmd"])
    run.mkdir()
    (run / "run.json").write_text("{}")
    assert _how_to_resume(run, ["fit", "cmmd"]).endswith(f"mmppl fit cmmd --out '{run}' --resume")
    words = ["fit", "cmmd", f"--out={run}", "--resume", "--lr", "0.1"]
    assert _how_to_resume(run, words).endswith(f"mmppl fit cmmd '--out={run}' --lr 0.1 --resume")
