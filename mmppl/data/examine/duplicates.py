"""Rows that occur more than once with the same numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..fingerprint import row_digests
from .finding import Finding
from .registry import Examined, examination

ENOUGH = 8  # numbers that rows have to share: few, or whole ones, repeat by chance


@examination("duplicates")
def duplicates(data: Examined) -> Iterator[Finding]:
    """Find rows that share all measured numbers, and say whether they are both in the training and the test rows."""
    total, size = np.zeros(len(data.split), np.uint64), 0
    full = np.ones(len(data.split), bool)
    for number, m in enumerate(data.modalities):
        if m.role == "label" or data.arrays[m.name].dtype.kind != "f" or m.likelihood == "bernoulli":
            continue
        total = total * np.uint64(2 * number + 3) + row_digests(data.values[m.name])
        size, full = size + m.size, full & data.observed[m.name]
    rows = np.flatnonzero(full)
    if size < ENOUGH or len(rows) < 2:
        return
    _, which, counts = np.unique(total[rows], return_inverse=True, return_counts=True)
    again = counts[which] > 1
    if again.any():
        extra = int(again.sum() - len(np.unique(which[again])))
        parts = [set(which[again & (data.split[rows] == code)].tolist()) for code in (0, 2)]
        leak = len(parts[0] & parts[1])
        across = f", of which {leak:,} are in the training and the test rows" if leak else ""
        yield Finding(
            "duplicates", "",
            f"{extra:,} row{'s repeat' if extra != 1 else ' repeats'} the numbers of another{across}; leave them out, "
            "or give rows that belong together one `group`",
        )  # fmt: skip
