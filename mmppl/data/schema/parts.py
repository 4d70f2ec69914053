"""Rows that get other parts than those of their source, such as those of a fold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ...errors import UsageError
from ..dataset import Dataset
from ..split_rules import LEFT_OUT, SplitRules


def checked_parts(split: np.ndarray | Sequence[int]) -> np.ndarray:
    """Check codes of parts.

    Args:
        split: (N,) whole numbers from −1 to 2.

    Returns:
        (N,) int8.

    Raises:
        UsageError: they are something else.
    """
    codes = np.asarray(split)
    if codes.ndim != 1 or codes.dtype.kind not in "iu" or not np.isin(codes, (LEFT_OUT, 0, 1, 2)).all():
        raise UsageError("split: expected one of 0 train, 1 valid, 2 test, -1 left out for each row.")
    return codes.astype(np.int8)


def of_parts(arrays: Mapping[str, np.ndarray], split: np.ndarray) -> dict[str, np.ndarray]:
    """Give the rows of arrays other parts than their own.

    Args:
        arrays: name → (N, *shape).
        split: (N,) codes of the parts, `LEFT_OUT` of rows that are left out.

    Returns:
        The arrays with these parts, without the rows that are left out. Rows without an id get their number as one.

    Raises:
        UsageError: there are more or fewer rows.
    """
    for name, array in arrays.items():
        _check_rows(len(array) if array.ndim else len(split), split, f"the rows of {name!r}")
    keep = split != LEFT_OUT
    kept = {name: array[keep] if array.ndim else array for name, array in arrays.items()}
    return {"id": np.flatnonzero(keep)} | kept | {"split": split[keep]}


def with_parts(dataset: Dataset, split: np.ndarray) -> Dataset:
    """Give the rows of a data set in model units other parts than their own; its units stay.

    Args:
        dataset: N rows.
        split: (N,) codes of the parts, `LEFT_OUT` of rows that are left out.

    Returns:
        The rows with these parts. Without a valid row, a tenth of the train rows becomes valid.

    Raises:
        UsageError: there are more or fewer rows.
    """
    _check_rows(len(dataset), split, f"{dataset.name}")
    rows = np.flatnonzero(split != LEFT_OUT)
    kept = dataset.take(torch.from_numpy(rows))
    drawn = not (split == 1).any()
    parts = SplitRules.of(kept).with_valid(split[rows], seed=0)
    return dataclasses.replace(kept, split=parts, has_split=True, drawn_valid=drawn)


def _check_rows(rows: int, split: np.ndarray, what: str) -> None:
    if rows != len(split):
        raise UsageError(f"split: {len(split):,} parts for {what}, which are {rows:,}; give one for each.")
