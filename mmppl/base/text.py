"""Numbers and columns as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def columns(rows: Sequence[Sequence[str]], gap: str = "  ") -> str:
    """Rows of cells, aligned; short rows are filled with blanks."""
    width = max((len(row) for row in rows), default=0)
    full = [[*row, *[""] * (width - len(row))] for row in rows]
    sizes = [max(len(row[i]) for row in full) for i in range(width)]
    return "\n".join(gap.join(cell.ljust(size) for cell, size in zip(row, sizes)).rstrip() for row in full)


def number(value: Any) -> str:
    """A number in four digits, as a reader wants it; "-" where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
