"""Classes that look like "no label": Unknown, unlabelled, ?, or −1 beside 0, 1, 2, …"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...modalities.modality import Modality
from .finding import Finding
from .registry import Examined, examination
from .sentinels import apart

WORDS = (
    "unknown", "unlabelled", "unlabeled", "unassigned", "undefined", "undetermined", "unspecified", "unk", "<unk>",
    "none", "null", "missing", "no label", "nolabel", "not available", "not applicable", "not known", "not reported",
    "[not available]", "[unknown]", "ambiguous", "n.a.", "?", "??", "-", "--", ".", "_", "*",
)  # fmt: skip
NUMBERS = (-1, -2, -9, -99, -999, -9999, 99, 255, 999, 9999)  # beside codes from 0 or 1 on


@examination("unlabelled")
def unlabelled(data: Examined) -> Iterator[Finding]:
    """Find such classes of labels and of inputs of one column."""
    for m in data.modalities:
        if m.classes and m.size == 1:
            for name in _suspects(m, data):
                count = int((data.rows(m.name) == name).sum())
                yield Finding(
                    "unlabelled", m.name,
                    f"{m.name}: {name!r} in {count:,} row{'s' * (count != 1)} looks like no label, and is taken for a "
                    f"class; if it means missing: --missing {m.name}={name}", True,
                )  # fmt: skip


def _suspects(m: Modality, data: Examined) -> list[str | int]:
    classes = list(m.classes or ())
    if isinstance(classes[0], str):
        found = [name for name in classes if str(name).strip().lower() in WORDS]
        return found if len(classes) > len(found) else []
    rows = data.rows(m.name)
    codes = [int(name) for name in classes if name in NUMBERS and _beside_codes(int(name), classes, rows)]
    ends = [int(end) for end in (classes[0], classes[-1]) if apart(rows[:, 0], float(end))]
    return list(dict.fromkeys([*codes, *ends]))


def _beside_codes(name: int, classes: list[str | int], rows: np.ndarray) -> bool:
    """Whether the other classes are 0, 1, … or 1, 2, …, and this one is no step of the same scale.

    With −1 beside 0 and 1, which may be a scale of three steps, it has to be that of most rows.
    """
    rest = [int(c) for c in classes if c != name and (int(c) not in NUMBERS or int(c) >= 0)]
    if len(rest) < 2 or rest[0] not in (0, 1) or rest[-1] - rest[0] != len(rest) - 1:
        return False
    if name in (-1, -2) and (rest[0] == 1 or len(rest) == 2):
        return bool(2 * (rows == name).sum() > len(rows))
    return name < 0 or name > rest[-1] + 1
