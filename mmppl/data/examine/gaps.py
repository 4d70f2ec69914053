"""Single cells that rows lack, counted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding
from .registry import Examined, examination


@examination("gaps")
def gaps(data: Examined) -> Iterator[Finding]:
    """Count the missing cells of every modality of which rows lack some, and name columns that no training row has."""
    for m in data.modalities:
        if m.sequence or m.name not in data.present:
            continue
        seen = data.observed[m.name]
        there = data.present[m.name].reshape(len(seen), -1)[seen]
        absent, rows = int((~there).sum()), int((~there.all(1)).sum())
        if not absent:
            continue
        empty = np.flatnonzero(~there[data.split[seen] == 0].any(0)).tolist()
        never = f"; {data.columns(m, empty)}: in no training row, so that nothing is learnt of it" if empty else ""
        yield Finding(
            "gaps", m.name,
            f"{m.name}: {absent:,} of {there.size:,} cells ({absent / there.size:.1%}) are missing, in {rows:,} of "
            f"{len(there):,} rows; what is left of these rows counts{never}",
        )  # fmt: skip
