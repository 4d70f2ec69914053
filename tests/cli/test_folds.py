"""`mmppl evaluate --folds`: what it passes on, and what it prints and refuses."""

import mmppl as library


def test_folds_pass_the_settings_of_fit_on_and_print_mean_and_spread(mmppl, monkeypatch, tmp_path):
    asked = {}

    def evaluate_folds(program, data, **how):
        asked.update(how, program=program, data=data)
        run = {"run": "fold-1", "rows": 30, "warnings": ["y is no better than its mean"]}
        mean, sd = ({"rmse.y": {"x": number}} for number in (0.5, 0.25))
        return {"folds": 2, "n": {"x": 60}, "runs": [run, run], "mean": mean, "sd": sd, "warnings": []}

    monkeypatch.setattr(library, "evaluate_folds", evaluate_folds)
    words = ["--set", "hidden=8", "--as", "person=group", "--epochs", "3", "--metric", "rmse", "--out", tmp_path / "f"]
    words += ["--hide-cells", "0.1"]
    result = mmppl("evaluate", "--folds", "2", "mvae", "--data", "mine.npz", *words)
    assert result.code == 0 and "0.5 ± 0.25" in result.out and "60 rows tested" in result.out
    assert (asked["program"], asked["data"], asked["folds"], asked["epochs"]) == ("mvae", "mine.npz", 2, 3)
    assert asked["hyper"] == {"hidden": "8"} and asked["as_"] == {"person": "group"} and asked["out"] == tmp_path / "f"
    assert asked["hide_cells"] == 0.1 and "preset" not in asked and asked["metrics"] == ["rmse"]
    assert mmppl("evaluate", "--folds", "2", "mvae", "--data", "mine.npz", "--json").json["n"] == {"x": 60}


def test_options_of_fits_need_folds_and_folds_one_program(mmppl, tmp_path):
    mmppl("evaluate", tmp_path, "--epochs", "3").failed(2, "--epochs is for fits; name --folds K")
    mmppl("evaluate", "--folds", "2", "mvae", "mopoe").failed(2, "name one PROGRAM")
    mmppl("evaluate", "--folds", "2", "mvae", "--split", "valid").failed(2, "takes no --split")
