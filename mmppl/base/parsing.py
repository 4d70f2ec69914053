"""Reading names, sizes, counts and rows in the forms that Python callers and the command line may write them."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    import numpy as np

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


def names(text: str | Iterable[str]) -> list[str]:
    """Split a list of names, given as a text with commas or as names.

    Args:
        text: "a,b", or the names themselves. An empty text stands for no name.

    Returns:
        The names in their order, each once.
    """
    parts = (part.strip() for part in text.split(",")) if isinstance(text, str) else text
    return list(dict.fromkeys(part for part in parts if part))


def size(option: str, text: str) -> int:
    """Read a size such as "2GB", "500 MB" or "1.5e9" in bytes; 1 kB is 1,000 bytes.

    Args:
        option: the option that the error message names.
        text: the size.

    Returns:
        The number of bytes.

    Raises:
        UsageError: the text is not a size.
    """
    parts = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*([kmgt]?b?)", text.strip().lower())
    unit = parts and UNITS.get(parts[2] if parts[2].endswith("b") or not parts[2] else parts[2] + "b")
    if not parts or not unit or not 1 <= float(parts[1]) * unit < 10**18:
        raise UsageError(f"{option} {text}: expected a size such as 500MB or 2GB.")
    return int(float(parts[1]) * unit)


def whole(name: str, value: Any) -> int:
    """Read a whole number of any kind, also numpy's, as an int.

    Args:
        name: the argument that the error message names.
        value: the number.

    Returns:
        The same number.

    Raises:
        UsageError: the value is not a whole number.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"query: {name}={value!r} is not a whole number.") from None


def row_numbers(rows: Any, n: int, place: str) -> np.ndarray:
    """Turn a selection of rows into row numbers.

    Args:
        rows: a slice, whole numbers, or a (n,) bool mask.
        n: how many rows there are.
        place: words that tell the user what has these rows.

    Returns:
        (k,) int64 row numbers, counted from 0.

    Raises:
        UsageError: a row does not exist, no row is selected, or `rows` is of another kind.
    """
    import numpy as np  # not for --help

    if isinstance(rows, slice):
        start, stop, step = (whole("rows", x) for x in (rows.start or 0, n if rows.stop is None else rows.stop,
                                                        1 if rows.step is None else rows.step))  # fmt: skip
        if not 0 <= start < stop <= n or step < 1:
            raise UsageError(f"rows {start}:{stop}{f':{step}' if step != 1 else ''} are out of range; {place}.")
        return np.arange(start, stop, step)
    found = np.atleast_1d(np.asarray(rows))
    if found.ndim != 1 or found.dtype.kind not in "biu" or not len(found):
        raise UsageError(f"rows {rows!r}: expected a slice such as slice(0, 5), row numbers, or a mask; {place}.")
    if found.dtype.kind == "b":
        if len(found) != n or not found.any():
            raise UsageError(f"rows: a mask of {len(found)} with {int(found.sum())} True; {place}.")
        return np.flatnonzero(found)
    wrong = found[(found < 0) | (found >= n)]
    if len(wrong):
        raise UsageError(f"row {wrong[0]} is out of range; {place}.")
    return found.astype(np.int64)
