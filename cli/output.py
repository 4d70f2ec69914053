"""Results as text: one JSON object, or aligned columns."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def as_json(value: Any) -> str:
    """One JSON object on one line; arrays become lists, and numbers that JSON does not have (NaN, infinite) null."""
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        return _plain(value.tolist())
    return value


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
