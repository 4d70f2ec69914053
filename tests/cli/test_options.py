import pytest

from mmppl import UsageError
from mmppl.cli.options import names, pairs, rows, size


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


@pytest.mark.parametrize(
    "text, want",
    [("2GB", 2 * 10**9), (" 500 mb", 5 * 10**8), ("1.5g", 15 * 10**8), ("64k", 64_000), ("1e9", 10**9), ("7", 7)],
)
def test_size(text, want):
    assert size("--memory", text) == want


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "0.1", "2 apples", "2GBB", "nan", "inf", "1e400", "9999999TB"])
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError, match=f"--memory {text}: expected a size such as 500MB"):
        size("--memory", text)
