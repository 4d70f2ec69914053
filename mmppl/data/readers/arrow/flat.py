"""Columns with one value per row, gathered batch by batch into arrays that have their final size from the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....base.memory import check_room
from ....errors import DataError
from ..cells import WIDEST
from ..tables.ordered import order_in
from .kinds import Kind, numbers_in, plain

EXACT = 2**53  # above, floats skip whole numbers


def as_floats(numbers: np.ndarray, place: str) -> np.ndarray:
    """Return numbers as float64, of which a NaN can stand for a gap.

    Args:
        numbers: bool or whole numbers.
        place: file and column, for messages.

    Returns:
        A copy.

    Raises:
        DataError: floats cannot keep them apart.
    """
    if numbers.dtype.kind in "iu" and ((numbers >= EXACT) | (numbers <= -EXACT)).any():
        raise DataError(
            f"{place}: whole numbers of 16 digits and more beside gaps, which floats cannot keep apart; store them as "
            "texts, or rescale them."
        )
    return numbers.astype(np.float64)


class Texts:
    """Texts, each of which is kept once.

    Args:
        place: file and column, for messages.
        shape: the shape of the array.
    """

    def __init__(self, place: str, shape: tuple[int, ...]) -> None:
        self.place = place
        self.codes = np.full(shape, -1, np.int32)
        self._known: dict[str, int] = {}

    def coded(self, column: Any) -> np.ndarray:
        """Return the codes of a batch: (n,) int32, −1 where a text is missing."""
        encoded = column.dictionary_encode()
        texts = [-1 if text is None else self._code(text) for text in encoded.dictionary.to_pylist()]
        at = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        return np.array([*texts, -1], np.int32)[at]  # −1 takes the last

    def values(self) -> np.ndarray:
        """Return the texts, "" where one is missing; NaN in all places if no text is there."""
        if not self._known:
            return np.full(self.codes.shape, np.nan)
        widest = max(map(len, self._known))
        if widest > WIDEST:
            raise DataError(
                f"{self.place}: a text of {widest:,} characters, where {WIDEST:,} are the most; shorten it, or leave "
                "the column out (--as NAME=ignore)."
            )
        check_room(4 * widest * self.codes.size, f"{self.place}: texts, the longest of {widest:,} characters,")
        return np.array([*self._known, ""])[self.codes]

    def _code(self, text: str) -> int:
        return self._known.setdefault(text, len(self._known))


class Flat:
    """Columns of one modality.

    Args:
        place: file and modality, for messages.
        kinds: what each of its columns is: all numbers, or all texts.
        rows: the number of rows.
        single: True for a column that is a modality by itself.

    Raises:
        DataError: the columns mix numbers and texts, or do not fit into memory.
    """

    def __init__(self, place: str, kinds: Sequence[Kind], rows: int, *, single: bool) -> None:
        self.place, self.kinds, self.single = place, kinds, single
        self.orders: dict[tuple[str | int, ...], None] = {}  # of the classes, as batches have them
        whats = {kind.what for kind in kinds} - {"nothing"}
        if len(whats) > 1:
            raise DataError(f"{place}: its columns mix {' and '.join(sorted(whats))}; group only columns of one kind.")
        self.texts = Texts(place, (rows, len(kinds))) if whats - {"numbers"} else None
        dtype = np.result_type(*(kind.dtype if kind.what == "numbers" else np.float64 for kind in kinds))
        width = 0 if self.texts else dtype.itemsize
        check_room(rows * len(kinds) * (width + 1), f"{place}: {rows:,} rows")
        self.floats = dtype.kind == "f"
        self.numbers = np.zeros((rows, 0 if self.texts else len(kinds)), dtype)
        self.gaps = np.zeros((rows, 0 if self.texts or self.floats else len(kinds)), bool)

    def put(self, at: int, which: int, column: Any) -> None:
        """Take the rows of a batch.

        Args:
            at: the number of its first row.
            which: the number of the column.
            column: the values, an array of Arrow.
        """
        rows, kind = slice(at, at + len(column)), self.kinds[which]
        if kind.what == "nothing":
            if self.floats:
                self.numbers[rows, which] = np.nan
            elif not self.texts:
                self.gaps[rows, which] = True
            return
        if self.single and (order := order_in(column)) is not None:
            self.orders[order] = None
        column = plain(column, kind)
        if self.texts:
            self.texts.codes[rows, which] = self.texts.coded(column)
            return
        self.numbers[rows, which], missing = numbers_in(column)
        if not self.floats:
            self.gaps[rows, which] = missing
        elif missing.any():
            self.numbers[rows, which][missing] = np.nan  # a column of whole numbers among floats

    def finished(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the values and what is missing, as a DataFrame's columns would give them.

        Returns:
            (N,) or (N, columns) values; and bool, True where they are missing: (N,) rows, or (N, columns) cells
            where rows have some. None if a NaN marks what is missing.

        Raises:
            DataError: a text is too long, or whole numbers are too large beside gaps.
        """
        values, missing = self._numbers() if self.texts is None else self._texts(self.texts)
        return (values[:, 0] if self.single else values), missing

    def _texts(self, texts: Texts) -> tuple[np.ndarray, np.ndarray | None]:
        gaps = texts.codes < 0
        missing: np.ndarray = np.all(gaps, axis=1)
        values = texts.values()
        if values.dtype.kind == "f":
            return values, None
        return values, missing if (gaps.any(1) == missing).all() else gaps

    def _numbers(self) -> tuple[np.ndarray, np.ndarray | None]:
        if self.floats or not self.gaps.any():
            return self.numbers, None
        missing: np.ndarray = np.all(self.gaps, axis=1)
        if (self.gaps.any(1) & ~missing).any():
            return self.numbers, self.gaps
        if missing.all():
            values = as_floats(self.numbers, self.place)
            values[self.gaps] = np.nan
            return values, None
        self.numbers[missing] = self.numbers[np.argmin(missing)]  # a filler that is one of the values
        return self.numbers, missing
