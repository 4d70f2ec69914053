"""The data that several fits share: read once, or dealt into folds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...data.dataset import Dataset
from ...data.read import read
from ...data.split_rules import SplitRules
from ...errors import UsageError, suggest
from ..fit import fit

SEED = 0  # of the division into folds, which like a split does not depend on the seed of the fit
OF_DATA = ("root", "as_", "hide", "hide_cells", "download", "missing", "target", "strict")
OURS = ("program", "data", "out", "resume", "seed", "log", *OF_DATA)


@dataclass
class Source:
    """Data, and the parts that are fitted and tested one after the other.

    Args:
        data: what `mmppl.read` takes.
        how: its options.
        splits: of each fold the codes of all rows; empty: the data as they are, in one part.
    """

    data: Any
    how: Mapping[str, Any]
    splits: Sequence[np.ndarray] = ()
    _last: tuple[int, Dataset] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def in_folds(cls, data: Any, how: Mapping[str, Any], folds: int, inform: Callable[[str], None]) -> Source:
        """Deal all rows into folds, whatever parts the data bring; see `SplitRules.folds`.

        Args:
            data: what `mmppl.read` takes.
            how: its options.
            folds: k.
            inform: receives a line where parts of the data's own are put aside.

        Raises:
            UsageError: there are too few rows for so many folds.
        """
        whole = read(data, **{**how, "hide": 0.0, "hide_cells": 0.0})
        if whole.has_split:
            inform(f"{whole.name}: its own parts are put aside; all rows are dealt into folds.")
        rules = SplitRules.of(whole)
        dealt = rules.folds(folds, seed=SEED)
        rules.check_folds(dealt)
        return cls(data, how, dealt)

    def part(self, number: int) -> Dataset:
        """Read a part, with scales and classes learnt from its training rows.

        Args:
            number: of the fold, from 0 on; 0 where there are no folds.

        Returns:
            The data set; the same one until another part is asked for.
        """
        if self._last is None or self._last[0] != number:
            split = self.splits[number] if self.splits else None
            self._last = number, read(self.data, split=split, **self.how)
        return self._last[1]

    def __getstate__(self) -> dict[str, Any]:
        """Other processes read for themselves."""
        return {**vars(self), "_last": None}


def check_settings(caller: str, settings: Mapping[str, Any]) -> None:
    """Check the names of settings that are passed on to `mmppl.fit`.

    Args:
        caller: the name of the function that got them.
        settings: name → value.

    Raises:
        UsageError: there is no such setting.
    """
    known = [name for name in inspect.signature(fit).parameters if name not in OURS]
    for name in settings:
        if name not in known:
            raise UsageError(f"{caller}: no setting {name!r}; there are {', '.join(known)}.{suggest(name, known)}")
