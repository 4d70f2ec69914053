"""The user's data as named NumPy arrays of numbers or strings, from .npz files, mappings of arrays and DataFrames.

Nothing is pickled or unpickled, and no DataFrame library is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...base.memory import check_room
from ...errors import DataError

WIDEST = 10_000  # characters of a string
NOTHING = np.zeros(1, dtype=bool)  # takes the place of an ignored array


def with_masks(arrays: dict[str, np.ndarray], gaps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add a mask for every array with gaps, joined with the user's own mask.

    Args:
        arrays: the arrays by name.
        gaps: name → bool, True where the row, (N,), or the cell, (N, *shape), is missing.

    Returns:
        The arrays, with `mask_<name>` for each name whose array has gaps.
    """
    for name, gap in gaps.items():
        if gap.any():
            own = arrays.get(f"mask_{name}")
            if own is not None and own.shape not in (arrays[name].shape, gap.shape[:1]):
                continue  # the user's mask is refused for its shape
            if own is not None and own.ndim != gap.ndim:
                shape = (len(gap), *[1] * (max(own.ndim, gap.ndim) - 1))
                own, gap = (part.reshape(shape) if part.ndim == 1 else part for part in (own, gap))
            joined = ~gap if own is None else np.where(gap, False, own)
            arrays = {**arrays, f"mask_{name}": joined}
    return arrays


def parse_column(name: str, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Convert one column to numbers or strings.

    Args:
        name: the name of the column, for messages.
        column: (N,) numbers, strings or objects.

    Returns:
        (N,) values, with a filler where they are missing, and (N,) bool, True where they are missing.

    Raises:
        DataError: the objects are neither all numbers nor all strings.
    """
    if column.dtype.kind == "f":
        return column, np.isnan(column)
    if column.dtype.kind not in "OT":
        return column, np.zeros(len(column), dtype=bool)
    missing = np.array([_absent(cell) for cell in column], dtype=bool)
    present = [cell for cell, gap in zip(column, missing) if not gap]
    if not present:
        return np.full(len(column), np.nan), missing
    if all(isinstance(cell, str) for cell in present):
        check_width(name, max(map(len, present)), len(column))
        return np.array(["" if gap else str(cell) for cell, gap in zip(column, missing)]), missing
    if not all(isinstance(cell, (bool, int, float, np.number, np.bool_)) for cell in present):
        kinds = sorted({type(cell).__name__ for cell in present})
        raise DataError(f"{name!r} holds objects ({', '.join(kinds)}); a column is all numbers or all strings.")
    numbers = np.array(present)
    if numbers.dtype == object:
        raise DataError(f"{name!r}: {max(present, key=abs)} is too large for 64 bits; rescale it, or store floats.")
    values = np.full(len(column), np.nan if numbers.dtype.kind == "f" else numbers[0], dtype=numbers.dtype)
    values[~missing] = numbers
    return values, missing


def _absent(cell: Any) -> bool:
    """Say whether a cell is None, NaN, or a missing value of pandas (known by its name, as pandas is not imported)."""
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and cell != cell)


def plain_array(name: str, array: np.ndarray) -> np.ndarray:
    """Check that an array holds numbers or strings, and decode byte strings.

    Args:
        name: the name of the array, for messages.
        array: any array.

    Returns:
        The array, with strings in place of byte strings.

    Raises:
        DataError: the array holds objects, dates or other types, or strings that are too long or no Unicode.
    """
    check_dtype(name, array.dtype)
    if array.dtype.kind not in "SU":
        return array
    check_width(name, array.dtype.itemsize // (4 if array.dtype.kind == "U" else 1), array.size)
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{name!r}: byte strings that are not UTF-8; store them as strings.") from None
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    signs = np.ascontiguousarray(array).view(np.uint32) if array.size else np.zeros(1, np.uint32)
    if ((signs >= 0xD800) & (signs < 0xE000) | (signs > 0x10FFFF)).any():
        raise DataError(f"{name!r}: a string in it has signs that Unicode lacks; write it again as UTF-8.")
    return array


def check_dtype(name: str, dtype: np.dtype) -> None:
    """Check that arrays of a type hold numbers or strings.

    Args:
        name: the name of the array, for messages.
        dtype: its type.

    Raises:
        DataError: it holds objects, dates or other types.
    """
    if dtype.hasobject:
        raise DataError(objects_message(name))
    if dtype.kind not in "biufSU":
        said = str(dtype) if len(str(dtype)) < 60 else f"{str(dtype)[:60]}…"
        raise DataError(f"{name!r} is {said}; store numbers (bool, integers, floats) or strings.")


def check_width(name: str, width: int, number: int) -> None:
    """Refuse strings that would not fit into memory: every cell takes as much as the longest."""
    if width > WIDEST:
        raise DataError(
            f"{name!r}: a string of {width:,} characters, where {WIDEST:,} are the most; shorten it, or leave {name!r} "
            f"out (--as {name}=ignore)."
        )
    check_room(4 * width * number, f"{name!r}: {number:,} strings, the longest of {width:,} characters,")


def objects_message(name: str) -> str:
    """Return the message about an array of Python objects.

    Args:
        name: the name of the array.

    Returns:
        The message.
    """
    return (
        f"{name!r} is an array of Python objects (rows that differ in length?); store one array of numbers or strings."
    )
