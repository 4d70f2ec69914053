"""Examinations by name: plain functions from what was read to findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ...base.maps import row_blocks, rows_where
from ...base.registry import Registry
from .finding import Finding, listed

if TYPE_CHECKING:
    from ...modalities.modality import Modality


@dataclass(frozen=True)
class Examined:
    """What an examination looks at: arrays in the units of the input, and what they were taken for.

    Args:
        modalities: the schema.
        arrays: name → (N, *shape) values, anything where they are missing.
        values: name → (N, *shape) in model units.
        observed: name → (N,) bool.
        present: name → (N, T, 1) bool, the steps of sequences that exist.
        split: (N,) int8 codes of the parts.
        has_split: whether the data brought the split.
        annotations: name → (N,).
    """

    modalities: Sequence[Modality]
    arrays: Mapping[str, np.ndarray]
    values: Mapping[str, Tensor]
    observed: Mapping[str, np.ndarray]
    split: np.ndarray
    has_split: bool = False
    annotations: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    present: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    _rows: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, init=False, repr=False)
    _ends: dict[str, tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def numbers(self) -> Iterator[tuple[Modality, np.ndarray]]:
        """Go through the modalities of numbers that a user may have written as a table, images of bytes aside.

        Yields:
            The modality, and its observed rows, (n, columns): of a sequence its steps; what is an image is one column
            of all its pixels.
        """
        for m in self.modalities:
            is_number = m.family.values != "classes" and self.arrays[m.name].dtype.kind in "iuf"
            if is_number and not m.transform.startswith("image"):
                rows = self.rows(m.name)
                yield m, rows.reshape(-1, 1) if len(m.shape) > 1 and not m.sequence else rows

    def ends(self, m: Modality) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest observed number of each column that `numbers` gives."""
        if m.name not in self._ends:
            rows = self.rows(m.name)
            rows = rows.reshape(-1, 1) if len(m.shape) > 1 and not m.sequence else rows
            found = [(part.min(0), part.max(0)) for part in (rows[some] for some in row_blocks(rows))]
            low, high = zip(*found)
            self._ends[m.name] = np.min(low, 0), np.max(high, 0)
        return self._ends[m.name]

    def rows(self, name: str) -> np.ndarray:
        """Return the observed rows of an array, (n, columns), and of a sequence its steps, (steps, columns); without a
        copy where all rows are observed.
        """
        array, seen = self.arrays[name], self.observed[name]
        if name in self.present:
            return array[self.present[name][..., 0] & seen[:, None]]
        if name not in self._rows:
            self._rows[name] = array if seen.all() else rows_where(array, seen)
        kept = self._rows[name]
        return kept.reshape(len(kept), -1)

    def columns(self, m: Modality, places: Sequence[int], most: int = 3) -> str:
        """Name some columns of a modality for a line."""
        if m.features:
            return listed([f"{m.name}:{m.features[place]}" for place in places], most)
        if m.size == 1 or len(m.shape) > 1:
            return m.name
        return f"{m.name}, column{'s' * (len(places) > 1)} {listed(list(places), most)}"


Examination = Callable[[Examined], Iterable[Finding]]
EXAMINATIONS: Registry[Examination] = Registry("examination", __package__, aside=("registry", "finding", "report"))


def examination(name: str) -> Callable[[Examination], Examination]:
    """Register an examination.

    Args:
        name: the name, which its findings have as their `kind`.

    Returns:
        A decorator.
    """
    return EXAMINATIONS.register(name)


def examine(data: Examined) -> tuple[Finding, ...]:
    """Apply every examination.

    Args:
        data: what was read.

    Returns:
        The findings, those that are suspected first.
    """
    with np.errstate(all="ignore"):
        found = [finding for of in EXAMINATIONS.values() for finding in of(data)]
    return tuple(sorted(found, key=lambda finding: not finding.suspected))
