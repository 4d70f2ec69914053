"""The numbers of a data set as they were read, for answers that hand back what was observed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..base.disk.maps import is_mapped

KEPT = 2**28  # bytes of arrays in memory; beyond, they would not be worth their room


@dataclass(frozen=True)
class SourceValues:
    """Arrays in the units of the input, of which only some rows may be meant.

    A data set holds float32 in model units, from which 157 comes back as 157.0000007. This holds references to what was
    read, and copies nothing until it is asked.

    Args:
        arrays: name → (N, *shape), before any row was chosen. What lies where a row lacks it never matters.
        rows: (n,) the numbers of the rows that are meant; None: all.

    Example:
        >>> kept = SourceValues({"age": np.array([31.5, 40.0, 57.25])}).take(np.array([2, 0]))
        >>> kept.of("age").tolist(), kept.of("height")
        ([57.25, 31.5], None)
    """

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray | None = None

    @classmethod
    def small(cls, arrays: Mapping[str, np.ndarray]) -> SourceValues:
        """Return those that lie in files, and if they take no more than `KEPT` bytes, those in memory."""
        total = sum(array.nbytes for array in arrays.values() if not is_mapped(array))
        return cls({name: array for name, array in arrays.items() if total <= KEPT or is_mapped(array)})

    def take(self, rows: np.ndarray) -> SourceValues:
        """Return those of some rows, (n,) row numbers."""
        return SourceValues(self.arrays, rows if self.rows is None else self.rows[rows])

    def only(self, names: Collection[str]) -> SourceValues:
        """Return those of some names."""
        return SourceValues({name: array for name, array in self.arrays.items() if name in names}, self.rows)

    def of(self, name: str) -> np.ndarray | None:
        """Return (n, *shape), a copy where rows were chosen; None where nothing is kept of that name."""
        array = self.arrays.get(name)
        return array if array is None or self.rows is None else np.asarray(array[self.rows])
