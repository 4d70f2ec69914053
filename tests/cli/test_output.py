import json
from pathlib import Path

import numpy as np
import torch

from mmppl.base.text import columns, number
from mmppl.cli.output import as_json


def test_json_has_null_for_what_json_has_not():
    value = {
        "x": np.array([[1.0, np.nan], [np.inf, 2.0]]),
        "t": torch.tensor([1, 2]),
        "s": np.float32(0.5),
        "n": float("-inf"),
        "p": Path("runs/a"),
        "k": (True, None, "µ"),
        3: np.int64(4),
    }
    text = as_json(value)
    assert json.loads(text) == {
        "x": [[1.0, None], [None, 2.0]],
        "t": [1, 2],
        "s": 0.5,
        "n": None,
        "p": "runs/a",
        "k": [True, None, "µ"],
        "3": 4,
    }
    assert "\n" not in text and "NaN" not in text


def test_columns_are_aligned():
    assert columns([["a", "bb", "c"], ["aaa", "b"]]) == "a    bb  c\naaa  b"
    assert columns([]) == ""


def test_number():
    assert [number(x) for x in (1234567, 0.123456, 1e-7, None, float("nan"), "x", True)] == [
        "1,234,567", "0.1235", "1e-07", "-", "-", "x", "True",
    ]  # fmt: skip
