"""Splits by time: what is learnt from is older than what is tested on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..errors import DataError

UNPADDED = re.compile(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2})(:\d{2}.*))?\s*")
TIME = "time"  # the annotation by whose order rows are split


def order_of(times: np.ndarray, units: np.ndarray | None = None) -> np.ndarray:
    """Rank rows by time. Rows of the same time have the same rank, and so have rows of a unit: that of its last row.

    Args:
        times: (N,) numbers, or texts of dates (2024-05-31, 2024-05-31T12:00, 2024-5-1, 2024-01-01 0:00).
        units: (N,) what belongs together, such as the rows of a person; None: every row stands alone.

    Returns:
        (N,) int64 ranks from 0 on.

    Raises:
        DataError: a text is no such date (the message names the row), or all rows have the same rank.

    Example:
        >>> order_of(np.array(["2024-01-09", "2023-12-31", "2024-01-09"]))
        array([1, 0, 1])
        >>> order_of(np.array([1, 2, 3, 4]), np.array(["a", "b", "a", "c"]))
        array([1, 0, 1, 2])
    """
    if times.dtype.kind == "U":
        times = np.array([_microseconds(text, row) for row, text in enumerate(times.tolist())], np.int64)
    ranks = np.unique(times, return_inverse=True)[1].reshape(-1)
    if units is not None:
        which = np.unique(units, return_inverse=True)[1].reshape(-1)
        last = np.zeros(which.max(initial=-1) + 1, np.int64)
        np.maximum.at(last, which, ranks)
        ranks = np.unique(last[which], return_inverse=True)[1].reshape(-1)
    if len(ranks) and not ranks.any():
        raise DataError(f"{TIME}: all rows have the same time (or belong together); no row is later. Leave it out.")
    return ranks


def _microseconds(text: str, row: int) -> int:
    """Microseconds since 1970; zeros that lack in front of month, day or hour are put there: it can mean one thing."""
    parts = UNPADDED.fullmatch(text)
    if parts:
        year, month, day, hour, rest = parts.groups()
        padded = f"{year}-{month:0>2}-{day:0>2}" + (f"T{hour:0>2}{rest}" if hour else "")
    try:
        found = np.array(padded if parts else text, "datetime64[us]")
    except ValueError:
        found = np.array("NaT", "datetime64[us]")
    if np.isnat(found):
        raise DataError(
            f"{TIME}, row {row}: {text[:40]!r} is no date that can be read; write dates as 2024-05-31, or give numbers."
        )
    return int(found.astype(np.int64))


def by_time(ranks: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Cut rows in the order of time into parts of these shares. Rows of one rank come into one part.

    Args:
        ranks: (N,) from `order_of`, at least two different ones.
        shares: of the parts, from the oldest to the latest; they sum to 1.

    Returns:
        (N,) int64 numbers of the parts. The first part has a row, and so has the last if its share is positive.

    Example:
        >>> by_time(np.array([0, 1, 1, 2, 3, 4, 5, 6, 7, 8]), (0.7, 0.1, 0.2)).tolist()
        [0, 0, 0, 0, 0, 0, 0, 1, 2, 2]
    """
    counts = np.bincount(ranks)
    middle = (np.cumsum(counts) - counts / 2) / len(ranks)  # a rank lies where the middle of its rows does
    part = np.searchsorted(np.cumsum(shares)[:-1], middle, side="right")
    part[0] = 0
    if len(part) > 1 and shares[-1] > 0:
        part[-1] = len(shares) - 1
    return part[ranks]
