import json

import pytest

from mmppl.bench import product
from mmppl.cli import main

FAST = ["bench", "--rounds", "2", "--seconds", "0.001"]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(product, "SHAPES", ((2, 3, 8, 4),))


def test_json_has_the_rows(small, capsys):
    assert main([*FAST, "--only", "product", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"device", "versions", "rows", "threads"} <= set(found)
    (row,) = found["rows"]
    assert set(row) == {"name", "shape", "ms", "ratio", "over", "limit_ratio", "spread"}
    assert row["shape"] == "M=2 S=3 B=8 D=4" and row["over"] == "eager broadcast" and row["ms"] > 0 and row["ratio"] > 0


def test_table(small, capsys):
    assert main([*FAST, "--only", "product"]) == 0
    out = capsys.readouterr().out
    assert "of the limit's time" in out and "eager broadcast" in out


def test_a_wrong_result_prints_no_figure(small, monkeypatch, capsys):
    monkeypatch.setattr(product, "apart", lambda found, truth: 1.0)
    assert main([*FAST, "--only", "product", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and "no figure" in captured.err


def test_unknown_group(capsys):
    assert main(["bench", "--only", "steps"]) == 2
    assert "Did you mean step?" in capsys.readouterr().err
