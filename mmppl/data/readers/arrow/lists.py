"""Columns of lists, gathered batch by batch: vectors, images and the like of one shape, or sequences of unequal
length."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ....base.memory import check_room
from ....errors import DataError
from .flat import Texts, as_floats
from .kinds import Kind, numbers_in, plain


class Lists:
    """A column of lists.

    Args:
        place: file and column, for messages.
        kind: what it is.
        rows: the number of rows.
    """

    def __init__(self, place: str, kind: Kind, rows: int) -> None:
        self.place, self.kind = place, kind
        self.lengths = np.full(rows, -1, np.int64)  # −1 where a row is null
        self.inner: tuple[int, ...] | None = None  # the shape of what a row lists
        self.texts = Texts(place, (0,)) if kind.what == "texts" else None
        self.values = np.zeros((rows, 0), np.int32 if self.texts else kind.dtype)

    def put(self, at: int, column: Any) -> None:
        """Take the rows of a batch.

        Args:
            at: the number of its first row.
            column: the lists, an array of Arrow.

        Raises:
            DataError: lists in lists differ in length or are null, a text in a list is, or they do not fit into memory.
        """
        import pyarrow
        import pyarrow.compute as compute

        if pyarrow.types.is_null(column.type):  # of a part in which no row has the column
            return
        if isinstance(column, pyarrow.ExtensionArray):
            column = column.storage
        missing = column.is_null().to_numpy(zero_copy_only=False)
        counted = compute.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        counted[missing] = -1
        self.lengths[at : at + len(column)] = counted
        ends = np.cumsum(np.maximum(counted, 0))

        def row_of(element: int) -> int:
            return at + int(np.searchsorted(ends, element, side="right"))

        leaves, inner = self._leaves(column.flatten(), row_of)
        if not len(leaves):
            return
        if self.inner not in (None, inner):
            raise DataError(
                f"{self.place}, row {row_of(0)}: lists of {self._listed(inner)} in it, and of "
                f"{self._listed(self.inner)} in rows before; give all rows the same."
            )
        self._grow(int(counted.max()), inner, leaves.dtype)
        leaves = leaves.reshape(-1, *inner)
        full = at + np.flatnonzero(counted > 0)
        lengths = counted[full - at]
        if (lengths == lengths[0]).all():
            self.values[full, : lengths[0]] = leaves.reshape(-1, lengths[0], *inner)
            return
        steps = np.arange(len(leaves)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self.values[np.repeat(full, lengths), steps] = leaves

    def finished(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return the values, the rows that are missing, and the lengths of the rows.

        Returns:
            (N, length, *inner) values; (N,) bool or None; (N,) whole numbers if the lengths differ, else None. If no
            row has anything: (N,) NaN, None and None. An empty list beside lists of one length is a missing row.

        Raises:
            DataError: rows differ in length that are no sequences of numbers or vectors.
        """
        found = np.unique(self.lengths[self.lengths > 0])
        if not len(found):
            return np.full(len(self.lengths), np.nan), None, None
        values = self.values if self.texts is None else self._with_texts(self.texts)
        if len(found) == 1:
            missing = self.lengths < 1
            return self._as_tensor(values), (missing if missing.any() else None), None
        if values.ndim > 3:
            rows = [int(np.flatnonzero(self.lengths == length)[0]) for length in found[:2]]
            raise DataError(
                f"{self.place}: rows {rows[0]} and {rows[1]} have the shapes {(int(found[0]), *values.shape[2:])} and "
                f"{(int(found[1]), *values.shape[2:])}; bring all to one shape."
            )
        return values, None, np.maximum(self.lengths, 0)

    def _leaves(self, column: Any, row_of: Callable[[int], int]) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the values in lists of lists as one flat array, and the shape of what each element of a row is."""
        import pyarrow.compute as compute

        inner: list[int] = []
        for _ in range(self.kind.depth - 1):
            gaps = column.is_null().to_numpy(zero_copy_only=False)
            if gaps.any():
                row = row_of(int(gaps.argmax()) // math.prod(inner))
                raise DataError(f"{self.place}, row {row}: null in place of a list in it; fill it, or empty the row.")
            lengths = compute.list_value_length(column).to_numpy(zero_copy_only=False)
            if len(lengths) and (lengths != lengths[0]).any():
                wrong = int((lengths != lengths[0]).argmax())
                raise DataError(
                    f"{self.place}, row {row_of(wrong // math.prod(inner))}: its inner lists have {lengths[0]} and "
                    f"{lengths[wrong]} values; only rows may differ in length."
                )
            inner.append(int(lengths[0]) if len(lengths) else 0)
            column = column.flatten()
        column = plain(column, self.kind)
        if self.texts is not None:
            gaps = column.is_null().to_numpy(zero_copy_only=False)
            if gaps.any():
                row = row_of(int(gaps.argmax()) // math.prod(inner))
                raise DataError(f"{self.place}, row {row}: null in place of a text in it; fill it, or empty the row.")
            return self.texts.coded(column), tuple(inner)
        leaves, gaps = numbers_in(column)
        if gaps.any() and leaves.dtype.kind != "f":
            leaves = np.where(gaps, np.nan, as_floats(leaves, self.place))
        return leaves, tuple(inner)

    def _grow(self, length: int, inner: tuple[int, ...], dtype: np.dtype) -> None:
        """Make room for rows of a length, and for the type of their values."""
        if self.inner is None:
            self.inner = inner
            self.values = self.values.reshape(len(self.lengths), 0, *inner)
        dtype = np.result_type(dtype, self.values.dtype)
        length = max(length, self.values.shape[1])
        if (length, dtype) == (self.values.shape[1], self.values.dtype):
            return
        known = (
            as_floats(self.values, self.place) if dtype.kind == "f" and self.values.dtype.kind in "iu" else self.values
        )
        size = len(self.lengths) * length * math.prod(inner) * dtype.itemsize
        check_room(size, f"{self.place}: {len(self.lengths):,} rows of {(length, *inner)} values")
        grown = np.zeros((len(self.lengths), length, *inner), dtype)
        grown[:, : known.shape[1]] = known
        self.values = grown

    def _with_texts(self, texts: Texts) -> np.ndarray:
        texts.codes = self.values
        texts.codes[np.arange(self.values.shape[1]) >= self.lengths[:, None]] = -1
        return texts.values()

    def _as_tensor(self, values: np.ndarray) -> np.ndarray:
        """Give a list of fixed size the shape that its type says."""
        if not self.kind.tensor:
            return values
        values = values.reshape(len(values), *self.kind.tensor)
        return values.transpose(0, *(1 + axis for axis in self.kind.order)) if self.kind.order else values

    @staticmethod
    def _listed(shape: tuple[int, ...] | None) -> str:
        return " × ".join(map(str, shape or (1,)))
