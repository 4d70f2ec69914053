"""Numbers, tables and names of other people as text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from ..errors import escaped

NUMBERS = re.compile(r"(\d+)")


def printable(text: Any, keep: str = "") -> str:
    """Turn anything into text in which `escaped` has escaped what has no shape."""
    return escaped(str(text), keep)


def code(text: Any) -> str:
    """Quote text for Markdown as code, in which nothing is a link, a tag or the end of a table's cell."""
    return "`" + printable(text).replace("`", r"\x60").replace("|", r"\x7c") + "`"


def columns(rows: Sequence[Sequence[str]], gap: str = "  ") -> str:
    """Align the cells of a table. What a terminal would obey in them is escaped.

    Args:
        rows: the cells of each row. Short rows are filled with blanks.
        gap: the text between two columns.

    Returns:
        One line for each row.
    """
    width = max((len(row) for row in rows), default=0)
    full = [[*map(printable, row), *[""] * (width - len(row))] for row in rows]
    sizes = [max(len(row[i]) for row in full) for i in range(width)]
    return "\n".join(gap.join(cell.ljust(size) for cell, size in zip(row, sizes)).rstrip() for row in full)


def number(value: Any) -> str:
    """Write a number with four digits, an int with its thousands separated, and "-" for None or NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def size_in_words(size: int) -> str:
    """Write bytes as a person would say them, rounded up to two digits: 1.3 GB."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            tenths = -(-10 * size // unit)
            return f"{tenths / 10:.1f} {name}" if tenths < 100 else f"{-(-size // unit):,} {name}"
    return f"{size:,} bytes"


def as_counted(name: str) -> list[tuple[int, str]]:
    """A key by which names sort as a reader counts: part-9 before part-10."""
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in NUMBERS.split(name)]
