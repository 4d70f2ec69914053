from pathlib import Path
from types import SimpleNamespace

import pytest

from mmppl import Modality
from mmppl.cli.query import example, wanted

A, B, C, Y = (
    Modality("a", (2,)),
    Modality("b", (2,)),
    Modality("c", ()),
    Modality("y", (), "categorical", role="label", classes=(0, 1)),
)


def run(modalities, conditions=()):
    return SimpleNamespace(modalities=modalities, program=SimpleNamespace(conditions=conditions))


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
    assert wanted(run(modalities, conditions), given) == want


def test_example():
    start = "mmppl query runs/x --given"
    assert example(Path("runs/x"), (A, B, Y)) == f"{start} a --want y,b --rows 0:5"
    assert example(Path("runs/x"), (A, B, C, Y), ("b", "c")) == f"{start} b,c --want y,a --rows 0:5"
    assert example(Path("runs/x"), (A,)) == f"{start} a --want z --rows 0:5"
    assert (
        example(Path("my runs"), (A,), program="p.py")
        == "mmppl query 'my runs' --given a --want z --rows 0:5 --program p.py"
    )
