"""Rows that come one at a time, in an array of its final size: all of one shape, or sequences of unequal length."""

from __future__ import annotations

import math

import numpy as np

from ....base.memory import check_room
from ....errors import DataError


class Rows:
    """The rows of one modality.

    Args:
        name: its name.
        place: what the rows come from, for messages.
        number: how many rows there are; those that are never put are missing.
    """

    def __init__(self, name: str, place: str, number: int) -> None:
        self.name, self.place, self.number = name, place, number
        self.values: np.ndarray | None = None
        self.lengths = np.full(number, -1, np.int64)  # −1 where a row is missing
        self.first = 0

    def put(self, row: int, value: np.ndarray) -> None:
        """Take a row.

        Args:
            row: its number.
            value: (*shape), as all rows before, but (steps,) and (steps, F) may have other numbers of steps.

        Raises:
            DataError: the shape or the kind of its values differs from that of rows before; or it does not fit into
                memory.
        """
        if self.values is None:
            self.first, self.values = row, self._empty(value.shape, value.dtype)
        values = self.values = self._roomy(self.values, row, value)
        if value.ndim:
            values[row, : len(value)] = value
        else:
            values[row] = value
        self.lengths[row] = len(value) if value.ndim else 1

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the rows as one array by name, with `mask_<name>` where rows are missing or `length_<name>` where they
        differ in length. If all are missing: NaN."""
        if self.values is None:
            return {self.name: np.full(self.number, np.nan)}
        if len(np.unique(self.lengths[self.lengths > 0])) > 1:
            return {self.name: self.values, f"length_{self.name}": np.maximum(self.lengths, 0)}
        there = self.lengths > 0
        return {self.name: self.values} | ({} if there.all() else {f"mask_{self.name}": there})

    def _roomy(self, values: np.ndarray, row: int, value: np.ndarray) -> np.ndarray:
        """Return the array, or a larger one, with room for a row."""
        shape, dtype = values.shape[1:], values.dtype
        if (value.dtype.kind in "US") != (dtype.kind in "US"):
            raise DataError(
                f"{self.place}: {self.name!r}, row {row} is {value.dtype}, and row {self.first} {dtype}; give all rows "
                "one type."
            )
        if value.shape != shape and (value.ndim not in (1, 2) or value.shape[1:] != shape[1:] or not shape):
            raise DataError(
                f"{self.place}: {self.name!r} has shape {value.shape} in row {row} and {shape} in row {self.first}; "
                "bring all rows to one shape."
            )
        longest = (max(len(value), shape[0]), *shape[1:]) if shape else shape
        wanted = np.result_type(value.dtype, dtype)
        if (longest, wanted) == (shape, dtype):
            return values
        roomy = self._empty(longest, wanted)
        roomy[tuple(slice(length) for length in values.shape)] = values
        return roomy

    def _empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        size = self.number * math.prod(shape) * dtype.itemsize
        check_room(size, f"{self.place}: {self.name!r}, {self.number:,} rows of shape {shape},")
        return np.zeros((self.number, *shape), dtype)
