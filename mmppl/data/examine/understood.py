"""What columns were taken for where that was a guess, and why."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...modalities.array_facts import FEW
from ...modalities.kinds import kind
from ...modalities.modality import Modality
from .finding import Finding, listed
from .registry import Examined, examination

SAMPLED = 1000  # rows that tell most columns from columns of few values


@examination("understood")
def understood(data: Examined) -> Iterator[Finding]:
    """Tell guesses that change what can be asked, those of one kind in one line: inputs that look like labels, labels
    that are numbers, and whole numbers in floats, which with gaps would be taken for whole numbers.
    """
    found: dict[str, list[str]] = {}
    for m in data.modalities:
        if why := _why(m, data):
            found.setdefault(why, []).append(m.name)
    for why, names in found.items():
        yield Finding(
            "understood", names[0], f"{listed(names)}: {why.replace('NAME', names[0] if len(names) == 1 else 'NAME')}"
        )


def _why(m: Modality, data: Examined) -> str:
    letter, classes = data.arrays[m.name].dtype.kind, m.family.values == "classes"
    if m.role == "label":
        return "" if kind(m) != "number" else "a label that is a number; --as NAME=categorical makes classes of it"
    if m.size > 1 or m.role == "condition":
        return ""
    if classes:
        how = "" if letter == "U" else "; --as NAME=normal makes it a number"
        what = "few different texts" if letter == "U" else "few different whole numbers"
        return f"{what}, taken for classes and for an input; --target NAME makes it the label{how}"
    if letter == "f":
        rows = data.rows(m.name)
        if len(np.unique(rows[:SAMPLED])) > FEW:
            return ""
        if (rows == np.rint(rows)).all() and 1 < len(np.unique(rows)) <= min(FEW, len(rows) // 2):
            return "few different whole numbers in floats, taken for a number; --as NAME=categorical makes it classes"
    return ""
