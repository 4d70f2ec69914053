"""Text with many different values: free text, file names and ids are no classes."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Finding
from .registry import Examined, examination

MANY = 20  # classes of a text, up to which nothing is said
REPEATS = 3  # rows per text on average, below which it can hardly be classes


@examination("free-text")
def free_text(data: Examined) -> Iterator[Finding]:
    """Find texts of one column with many classes."""
    for m in data.modalities:
        if m.classes and m.size == 1 and isinstance(m.classes[0], str) and len(m.classes) > MANY:
            rows = int(data.observed[m.name].sum())
            rare = rows < REPEATS * len(m.classes)
            yield Finding(
                "free-text", m.name,
                f"{m.name}: {len(m.classes):,} different texts in {rows:,} rows are taken for classes"
                f"{', and look like ids or free text' if rare else ''}; --as {m.name}=annotation keeps them aside, "
                f"--as {m.name}=ignore leaves them out", rare,
            )  # fmt: skip
