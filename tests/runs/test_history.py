"""metrics.jsonl: every line is what a fit writes."""

import json
import os
from pathlib import Path

import pytest

import mmppl
from mmppl.errors import DataError
from mmppl.runs.history import parse_history
from mmppl.runs.record import METRICS

LINE = {
    "epoch": 1, "stage": "fit", "train": {"nll.a": 2.0}, "valid": {}, "weights": {"nll.a": 1.0},
    "loss": {"train": 2.0, "valid": None}, "metrics": {"mine": float("nan")}, "seconds": 0.1, "more": [1],
}  # fmt: skip


def parse(*lines):
    return parse_history("".join(json.dumps(line) + "\n" for line in lines).encode(), Path("metrics.jsonl"))


def test_the_lines_of_a_fit_come_back():
    assert parse() == [] and parse({**LINE, "metrics": {}}, {**LINE, "epoch": 2, "metrics": {}})[1]["epoch"] == 2
    run = mmppl.fit("mvae", hyper={"hidden": 8, "layers": 1}, epochs=1)
    assert parse(*run.metrics) == run.metrics


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epoch": 2}, "epoch is 2, expected 1"),
        ({"epoch": 1.0}, "epoch is 1.0, expected int"),
        ({"train": 3}, "train is 3"),
        ({"train": {"nll.a": "x"}}, "train.nll.a is 'x', expected float"),
        ({"loss": None}, "loss is no object"),
        ({"loss": {"train": 1.0}}, "loss.valid is missing"),
        ({"weights": []}, r"weights is \[\]"),
        ({"metrics": None}, "metrics is None"),
    ],
)
def test_a_line_that_no_fit_writes(change, says):
    with pytest.raises(DataError, match=f"^metrics.jsonl: damaged .line 1: {says}[^\n]*$"):
        parse({**LINE, **change})


@pytest.mark.parametrize("data", [b"3\n", b"{}\n", b"\xff\n", b"[" * 100_000, b"{"])
def test_what_is_no_line(data):
    with pytest.raises(DataError, match="^metrics.jsonl: damaged .line 1: [^\n]*$"):
        parse_history(data, Path("metrics.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize("status", ["running", "done"])
def test_a_pipe_is_not_waited_for(status, tmp_path):
    import dataclasses

    run = mmppl.fit("mvae", hyper={"hidden": 8, "layers": 1}, epochs=1, out=tmp_path / "run")
    (tmp_path / "run" / METRICS).unlink()
    os.mkfifo(tmp_path / "run" / METRICS)
    again = mmppl.Run.load(tmp_path / "run")
    again.record = dataclasses.replace(run.record, status=status)
    with pytest.raises(DataError, match="cannot be read .no regular file"):
        _ = again.metrics
