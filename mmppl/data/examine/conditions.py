"""Conditions that rows lack, and classes of conditions that no training row has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding, listed
from .registry import Examined, examination


@examination("conditions")
def conditions(data: Examined) -> Iterator[Finding]:
    """Say what is taken for a condition where a row lacks it, and where nothing can be learnt of a class."""
    for m in data.modalities:
        if m.role != "condition":
            continue
        seen = data.observed[m.name]
        lacking = int((~seen).sum())
        if lacking:
            taken = "for no class" if m.classes else "for the mean of the training rows"
            rows = f"{lacking:,} row{'s' * (lacking != 1)}"
            yield Finding("conditions", m.name, f"{m.name}: {rows} lack this condition, which is taken {taken} there")
        if m.classes and m.size == 1:
            there = np.unique(data.arrays[m.name].reshape(-1)[seen & (data.split == 0)])
            unseen = [c for c in m.classes if c not in there.tolist()]
            if unseen:
                yield Finding(
                    "conditions", m.name, f"{m.name}: no training row is of {listed(unseen)}: nothing is learnt of it"
                )
