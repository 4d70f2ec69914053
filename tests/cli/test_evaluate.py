from mmppl.evaluation.tables import compared_table, metric_table

METRICS = {
    "error.label": {"a": 0.25, "a+b": 0.125},
    "rmse.b": {"a": 1.5},
    "rmse_global.b": {"a": 2.0},
    "calibration.b": {"a": {"level": [0.5], "share": [0.4]}},
    "collapse": {"eps": [0.0, 0.154, 6.0], "fraction": [0.0, 0.5, 1.0], "alone": {"a": [0.0, 0.75, 1.0]}},
    "left_out": 3,
}


def test_one_row_per_metric_one_column_per_conditioning_set():
    lines = metric_table(METRICS, n={"a": 1200, "a+b": 900}).splitlines()
    assert [line.split() for line in lines[:5]] == [
        ["given", "a", "a+b"],
        ["rows", "1,200", "900"],
        ["error.label", "25.00%", "12.50%"],
        ["rmse.b", "1.5"],
        ["rmse_global.b", "2"],
    ]
    rest = "\n".join(lines[5:])
    assert "50% of the latent dimensions (a alone 75%)" in rest and "3 rows" in rest and "calibration" not in rest


def test_spread_of_several_runs():
    text = metric_table(
        {"error.label": {"a": 0.25}, "rmse_global.b": 2.0}, {"error.label": {"a": 0.01}, "rmse_global.b": 0.5}
    )
    assert "25.00% ± 1.00%" in text and "2 ± 0.5" in text


def test_no_metric_at_all():
    assert metric_table({}) == ""


def test_conditioning_sets_keep_their_order():
    found = {
        "rmse.a": {"b": 1.0}, "probe500.label": {"a": 0.5, "b": 0.25}, "coherence_joint": {"nothing": 0.125},
    }  # fmt: skip
    assert [line.split() for line in metric_table(found, n={"a": 2, "b": 3}).splitlines()] == [
        ["given", "a", "b", "nothing"],
        ["rows", "2", "3"],
        ["rmse.a", "1"],
        ["probe500.label", "50.00%", "25.00%"],
        ["coherence_joint", "12.50%"],
    ]
    by_two = metric_table({"coherence.b": {"a": 0.5}, "nmi.label": {"a": 0.5}}, {"coherence.b": {"a": 0.1}})
    assert "50.00% ± 10.00%" in by_two and "nmi.label    0.5" in by_two


def test_titles_take_the_place_of_names():
    table = metric_table({"r2.x": {"a": 0.5}}, titles={"r2.x": "R² of x"})
    assert " ".join(table.splitlines()[1].split()) == "R² of x 0.5"


def test_runs_side_by_side():
    groups = [
        {"runs": ["one"], "mean": {"rmse.x": {"a": 1.0, "b": 2.0}, "judge_accuracy.x": 0.5},
         "sd": {"rmse.x": {"a": None, "b": None}, "judge_accuracy.x": None}},
        {"runs": ["two", "three"], "mean": {"rmse.x": {"a": 3.0}, "error.y": {"a": 0.5}},
         "sd": {"rmse.x": {"a": 0.5}, "error.y": {"a": 0.25}}},
    ]  # fmt: skip
    lines = [" ".join(line.split()) for line in compared_table(groups).splitlines()]
    assert lines == [
        "one two and 1 more", "rmse.x given a 1 3 ± 0.5", "rmse.x given b 2", "judge_accuracy.x 50.00%",
        "error.y given a 50.00% ± 25.00%",
    ]  # fmt: skip
