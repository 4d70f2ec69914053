

from mmppl.evaluation.tables import metric_table

METRICS = {
    "error.label": {"a": 0.25, "a+b": 0.125},
    "rmse.b": {"a": 1.5},
    "rmse_global.b": 2.0,
    "collapse": {"eps": [0.0, 0.154, 6.0], "fraction": [0.0, 0.5, 1.0]},
    "left_out": 3,
    "nothing_seen": {"a": 2, "a+b": 0},
}


def test_one_row_per_metric_one_column_per_conditioning_set():
    lines = metric_table(METRICS).splitlines()
    assert [line.split() for line in lines[:4]] == [
        ["given", "a", "a+b"],
        ["error.label", "25.00%", "12.50%"],
        ["rmse.b", "1.5"],
        ["rmse_global.b", "2"],
    ]
    rest = "\n".join(lines[4:])
    assert "50% of the latent dimensions" in rest and "3 rows" in rest and "a 2" in rest and "a+b" not in rest


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
        "nothing_seen": {"a": 0, "b": 0},
    }  # fmt: skip
    assert [line.split() for line in metric_table(found).splitlines()] == [
        ["given", "a", "b", "nothing"],
        ["rmse.a", "1"],
        ["probe500.label", "50.00%", "25.00%"],
        ["coherence_joint", "12.50%"],
    ]
    by_two = metric_table({"coherence.b": {"a": 0.5}, "nmi.label": {"a": 0.5}}, {"coherence.b": {"a": 0.1}})
    assert "50.00% ± 10.00%" in by_two and "nmi.label    0.5" in by_two
