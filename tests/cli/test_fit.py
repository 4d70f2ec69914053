import json

from command import SMALL

from mmppl.cli.fit import _how_to_resume


def test_how_to_resume(tmp_path):
    run = tmp_path / "my run"
    assert "nothing is kept" in _how_to_resume(run, ["fit", "cmmd"])
    run.mkdir()
    (run / "run.json").write_text("{}")
    assert _how_to_resume(run, ["fit", "cmmd"]).endswith(f"mmppl fit cmmd --out '{run}' --resume")
    words = ["fit", "cmmd", f"--out={run}", "--resume", "--lr", "0.1"]
    assert _how_to_resume(run, words).endswith(f"mmppl fit cmmd '--out={run}' --lr 0.1 --resume")


def test_threads_of_a_fit(mmppl, tmp_path):
    out = tmp_path / "run"
    assert mmppl("fit", "mvae", *SMALL, "--threads", 1, "--out", out).code == 0
    assert json.loads((out / "run.json").read_text())["threads"] == 1
    mmppl("fit", "mvae", *SMALL, "--threads", 0, "--out", tmp_path / "none").failed(2, "threads 0", "1 and 1024")
    assert not (tmp_path / "none").exists()
