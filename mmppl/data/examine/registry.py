"""Examinations by name: plain functions from what was read to findings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ...base.disk.maps import row_blocks, rows_where
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
        present: name → (N, T, 1) bool, the steps of sequences that exist, and (N, *shape) bool, the cells that rows
            have, of what they lack single cells of.
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
    _filled: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, init=False, repr=False)

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
        """Return the observed rows of an array, (n, columns), as `filled` gives them, and of a sequence its steps,
        (steps, columns); without a copy where all rows are observed.
        """
        seen = self.observed[name]
        if name in self.present and self._of_steps(name):
            return self.arrays[name][self.present[name][..., 0] & seen[:, None]]
        if name not in self._rows:
            array = self.filled(name)
            self._rows[name] = array if seen.all() else rows_where(array, seen)
        kept = self._rows[name]
        return kept.reshape(len(kept), -1)

    def filled(self, name: str) -> np.ndarray:
        """Return an array in which the middle value of its column stands for a cell that a row lacks: that of training
        rows where any has one. It changes neither the extremes nor whether the column is constant.
        """
        if name not in self.present or self._of_steps(name) or self.arrays[name].dtype.kind == "U":
            return self.arrays[name]
        if name not in self._filled:
            array = self.arrays[name].reshape(len(self.split), -1).copy()
            there, train = self.present[name].reshape(array.shape), self.split == 0
            for place in np.flatnonzero(~there[self.observed[name]].all(0)):
                own = there[:, place] & train
                values = np.sort(array[own if own.any() else there[:, place], place])
                array[~there[:, place], place] = values[(len(values) - 1) // 2] if len(values) else 0
            self._filled[name] = array.reshape(self.arrays[name].shape)
        return self._filled[name]

    def count(self, m: Modality, places: Sequence[int], value: float) -> int:
        """Count the cells of some columns that hold a value, as `numbers` gives them."""
        held = self.rows(m.name)
        held = held.reshape(-1, 1) if len(m.shape) > 1 and not m.sequence else held
        found = held[:, places] == value
        if m.name in self.present and not m.sequence:
            there = self.present[m.name][self.observed[m.name]].reshape(held.shape)
            found &= there[:, places]
        return int(found.sum())

    def _of_steps(self, name: str) -> bool:
        return any(m.sequence for m in self.modalities if m.name == name)

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
