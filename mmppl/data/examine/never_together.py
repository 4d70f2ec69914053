"""Pairs of modalities that no row has together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from .finding import Finding
from .registry import Examined, examination

MOST = 6  # pairs that are named


@examination("never-together")
def never_together(data: Examined) -> Iterator[Finding]:
    """Find such pairs; what one says of the other is then an assumption of the model."""
    seen = {
        m.name: data.observed[m.name]
        for m in data.modalities
        if m.role != "condition" and not data.observed[m.name].all()
    }
    pairs = [
        (a, b) for a, b in combinations(seen, 2) if seen[a].any() and seen[b].any() and not (seen[a] & seen[b]).any()
    ]
    for a, b in pairs[:MOST]:
        yield Finding(
            "never-together", a,
            f"{a} ({int(seen[a].sum()):,} rows) and {b} ({int(seen[b].sum()):,} rows) are never observed together: "
            "what one says of the other is an assumption of the model",
        )  # fmt: skip
    if len(pairs) > MOST:
        yield Finding("never-together", "", f"and {len(pairs) - MOST:,} more pairs are never observed together")
