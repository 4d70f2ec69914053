"""Rows that occur more than once with the same numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ...base.disk.maps import rows_where
from ..fingerprint import row_digests
from .finding import Finding
from .registry import Examined, examination

FIRST = 4  # columns of each modality that are looked at first
ENOUGH = 8  # numbers that rows have to share: few, or whole ones, repeat by chance


@examination("duplicates")
def duplicates(data: Examined) -> Iterator[Finding]:
    """Find rows that share all measured numbers, and say whether they are both in the training and the test rows."""
    floats = [
        m for m in data.modalities
        if m.role == "modality" and data.arrays[m.name].dtype.kind == "f" and m.family.density
    ]  # fmt: skip
    if sum(m.size for m in floats) < ENOUGH:
        return
    rows = np.flatnonzero(np.all([data.observed[m.name] for m in floats], 0))
    for most in (FIRST, None):  # few columns tell most rows apart, and only the others are looked at whole
        total = np.zeros(len(rows), np.uint64)
        for number, m in enumerate(floats):
            value = data.values[m.name].flatten(1) if m.shape else data.values[m.name].unsqueeze(1)
            chosen = torch.from_numpy(rows_where(value[:, :most].numpy(), rows))
            total = total * np.uint64(2 * number + 3) + row_digests(chosen)
        _, which, counts = np.unique(total, return_inverse=True, return_counts=True)
        again = counts[which] > 1
        rows, which = rows[again], which[again]
    if len(rows):
        extra = len(rows) - len(np.unique(which))
        parts = [set(which[data.split[rows] == code].tolist()) for code in (0, 2)]
        leak = len(parts[0] & parts[1])
        across = f", of which {leak:,} are in the training and the test rows" if leak else ""
        yield Finding(
            "duplicates", "",
            f"{extra:,} row{'s repeat' if extra != 1 else ' repeats'} the numbers of another{across}; leave them out, "
            "or give rows that belong together one `group`",
        )  # fmt: skip
