from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmppl import DataError, Modality, Program, read
from mmppl.cli.query import example
from mmppl.inference.defaults import default_want

A, B, C, Y = (
    Modality("a", (2,)),
    Modality("b", (2,)),
    Modality("c", ()),
    Modality("y", (), "categorical", role="label", classes=(0, 1)),
)


def run(modalities, conditions=(), silent=(), data=None, path="runs/x", opens="nothing"):
    program = Program(modalities)
    program.conditions = conditions
    program.targets = lambda: tuple(n for n in Program.targets(program) if n not in silent)

    def read():
        if data is None:
            raise DataError("gone")
        return data

    return SimpleNamespace(modalities=modalities, program=program, data=read, folder=Path(path), opens=opens)


@pytest.mark.parametrize(
    "modalities, conditions, given, want",
    [
        ((A, B, Y), (), None, ["y"]),  # what each row has is given: only the label is left
        ((A, B, Y), ("a",), None, ["y", "b"]),
        ((A, B, C, Y), (), ["a"], ["y", "b", "c"]),
        ((A, B, Y), (), [], ["y", "a", "b"]),
        ((A, B, Y), (), ["a", "b"], ["y"]),
        ((A, B, Y), (), ["a", "b", "y"], ["z"]),
        ((A, B), (), None, ["z"]),
    ],
)
def test_wanted(modalities, conditions, given, want):
    assert default_want(run(modalities, conditions), given) == want


def test_what_a_program_has_no_distribution_for_is_not_wanted():
    assert default_want(run((A, B, Y), ("a",), silent=("b",)), None) == ["y"]
    assert default_want(run((A, B, Y), silent=("y", "b")), ["a"]) == ["z"]


def test_example():
    start = "mmppl query runs/x --given"
    assert example(run((A, B, Y))) == f"{start} a --want y,b --data FILE"
    assert example(run((A, B, C, Y), ("b", "c"))) == f"{start} b,c --want y,a --data FILE"
    assert example(run((A, B, Y), ("a",), silent=("b",))) == f"{start} a --want y --data FILE"
    assert example(run((A,))) == f"{start} a --want z --data FILE"
    line = example(run((A,), path="my runs"), "p.py")
    assert line == "mmppl query 'my runs' --given a --want z --data FILE --program p.py"


def test_an_example_opens_no_files():
    def read():
        pytest.fail("the data were read")

    for opens, rows in (("files", "--rows 0"), ("what is named", "--data FILE")):
        asked = run((A, B, Y), opens=opens)
        asked.data = read
        assert example(asked) == f"mmppl query runs/x --given a --want y,b {rows}"


@pytest.mark.parametrize(
    "conditions, has, split, rows",
    [
        ((), "......++", "...t.ttt", "--rows 0:4"),  # as many as there are
        ((), "++++++++", "tttttttt", "--rows 0:5"),
        (("a",), "+++.++++", "tttttttt", "--rows 0:3"),
        (("a",), "...++.++", "tttttttt", "--rows 3:5"),
        (("a",), "....++..", "ttttt.t.", "--rows 4:5"),  # numbered among the test rows
        (("a",), "+++....+", "...ttttt", "--rows 4:5"),
        (("a",), ".+++....", "....tttt", "--split all --rows 1:4"),
        ((), "++++++++", "........", "--split all --rows 0:5"),
    ],
)
def test_example_chooses_rows_that_can_be_queried(conditions, has, split, rows):
    data = read({"a": np.ones((8, 2)), "b": np.ones((8, 2))})
    observed = data.observed | {"a": torch.tensor([c == "+" for c in has])}
    data = replace(data, observed=observed, split=np.array([2 if c == "t" else 0 for c in split], np.int8))
    assert example(run((A, B), conditions, data=data)).endswith(f" {rows}")
