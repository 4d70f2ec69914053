"""What the user has, as named numpy arrays of numbers or strings: .npz files, mappings of arrays, DataFrames.

Nothing is pickled or unpickled, and no DataFrame library is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import DataError

NOTHING = np.zeros(1, dtype=bool)  # stands for an array that is ignored, whatever it holds


def _with_masks(arrays: dict[str, np.ndarray], gaps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`arrays` with `mask_<name>` for gaps, joined with the user's own mask."""
    for name, gap in gaps.items():
        if gap.any():
            own = arrays.get(f"mask_{name}")
            joined = ~gap if own is None or own.shape != gap.shape else np.where(gap, False, own)
            arrays = {**arrays, f"mask_{name}": joined}
    return arrays


def _column(name: str, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One column → (values, missing). Objects become numbers or strings; what stands where missing is a filler."""
    if column.dtype.kind == "f":
        return column, np.isnan(column)
    if column.dtype.kind not in "OT":
        return column, np.zeros(len(column), dtype=bool)
    missing = np.array([_absent(cell) for cell in column], dtype=bool)
    present = [cell for cell, gap in zip(column, missing) if not gap]
    if not present:
        return np.full(len(column), np.nan), missing
    if all(isinstance(cell, str) for cell in present):
        return np.array(["" if gap else str(cell) for cell, gap in zip(column, missing)]), missing
    if not all(isinstance(cell, (bool, int, float, np.number, np.bool_)) for cell in present):
        kinds = sorted({type(cell).__name__ for cell in present})
        raise DataError(f"{name!r} holds objects ({', '.join(kinds)}); a column is all numbers or all strings.")
    numbers = np.array(present)
    values = np.full(len(column), np.nan if numbers.dtype.kind == "f" else numbers[0], dtype=numbers.dtype)
    values[~missing] = numbers
    return values, missing


def _absent(cell: Any) -> bool:
    """None, NaN, or the missing values of pandas (known by name, since pandas is not imported)."""
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and cell != cell)


def _plain(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{name!r}: byte strings that are not UTF-8; store them as strings.") from None
    if array.dtype == object:
        raise DataError(_objects(name))
    if array.dtype.kind not in "biufU":
        raise DataError(f"{name!r} is {array.dtype}; store numbers (bool, integers, floats) or strings.")
    return array


def _objects(name: str) -> str:
    return (
        f"{name!r} is an array of Python objects (rows that differ in length?); store one array of numbers or strings."
    )
