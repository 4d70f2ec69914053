import pytest

from mmppl import UsageError
from mmppl.cli.options import choice, names, pairs, rows


def test_pairs():
    assert pairs("--set", ["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in ("a", "=1", ""):
        with pytest.raises(UsageError, match="--set .*NAME=VALUE"):
            pairs("--set", [wrong])


def test_names():
    assert names("") == []
    assert names(" a, b ,") == ["a", "b"]
    assert names("b,a,b,a") == ["b", "a"]


@pytest.mark.parametrize(
    "text, want",
    [(None, None), ("0:5", slice(0, 5)), (":5", slice(0, 5)), ("5:", slice(5, None)), ("7", slice(7, 8))],
)
def test_rows(text, want):
    assert rows(text) == want


@pytest.mark.parametrize("text", ["", "a:b", "1:2:3", "1.5"])
def test_rows_that_are_none(text):
    with pytest.raises(UsageError, match="expected A:B"):
        rows(text)


def test_choice():
    assert choice("--device", "cpu", ("auto", "cpu")) == "cpu"
    with pytest.raises(UsageError, match="--device cup: choose from auto, cpu. Did you mean cpu?"):
        choice("--device", "cup", ("auto", "cpu"))
