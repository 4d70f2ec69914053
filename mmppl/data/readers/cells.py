"""What the user has, as named numpy arrays of numbers or strings: .npz files, mappings of arrays, DataFrames.

Nothing is pickled or unpickled, and no DataFrame library is imported.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import DataError, suggest
from ..splits import PARTS

# What numpy and zipfile raise about a file that is damaged, encrypted (RuntimeError) or packed in an unknown way.
CORRUPT = (ValueError, KeyError, EOFError, MemoryError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error)


OTHERS = {  # what people have, and how it gets in
    ".wav": "recordings are read by the folder or .zip that they lie in; give that",
    **dict.fromkeys(
        (".csv", ".tsv", ".parquet", ".feather", ".xlsx", ".h5", ".hdf5", ".pkl"),
        "a table; read it with pandas and give the DataFrame in Python, or write its columns with numpy.savez",
    ),
}


NOTHING = np.zeros(1, dtype=bool)  # stands for an array that is ignored, whatever it holds


def read_npz(path: Path, ignored: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Arrays of an .npz file, in its order; of those that are ignored only that they are there.

    Raises:
        DataError: no such file, not an .npz, truncated, corrupt, encrypted, or with arrays of Python objects.
    """
    if not path.is_file():
        near = suggest(path.name, [p.name for p in path.parent.glob("*.npz")] if path.parent.is_dir() else [])
        raise DataError(f"{path}: no such file.{near or ' Give the path of an .npz file.'}")
    if path.suffix.lower() in OTHERS:
        raise DataError(f"{path}: {OTHERS[path.suffix.lower()]}.")
    arrays = {}
    key = "index"
    try:
        with open(path, "rb") as opened:
            if opened.read(2) != b"PK" or not zipfile.is_zipfile(opened):
                raise DataError(
                    f"{path}: not a whole .npz file (truncated, or another format); write it with numpy.savez."
                )
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                if key in ignored:
                    arrays[key] = NOTHING
                    continue
                array = file[key]
                if not isinstance(array, np.ndarray):  # the bytes of whatever it is
                    raise DataError(f"{path}: a zip file, but {key!r} in it is no array; write it with numpy.savez.")
                arrays[key] = _plain(key, array)
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable, or copy it.") from None
    except (*CORRUPT, OSError) as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{path}: {_objects(key)}") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: {key!r} cannot be read ({reason}); write it again with numpy.savez.") from None
    return arrays


def joined_parts(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays in parts (MNIST-MIX: X_train, X_test, y_train, y_test) as X, y and `split`; any others as they are.

    They are in parts if all are named so, every name has the same ones, train among them, and they fit together.
    """
    cut = {key: key.rpartition("_") for key in arrays}
    names = dict.fromkeys(name for name, _, _ in cut.values())
    parts = [part for part in PARTS if f"{next(iter(names), '')}_{part}" in arrays]
    if "train" not in parts or len(parts) < 2 or {*arrays} != {f"{name}_{part}" for name in names for part in parts}:
        return arrays
    if not all(names) or any(array.ndim == 0 for array in arrays.values()):
        return arrays
    of_name = {name: [arrays[f"{name}_{part}"] for part in parts] for name in names}
    lengths = {tuple(len(array) for array in of) for of in of_name.values()}
    alike = all(len({(array.shape[1:], array.dtype.kind) for array in of}) == 1 for of in of_name.values())
    if len(lengths) > 1 or not alike:
        return arrays
    split = np.repeat(np.array(parts), lengths.pop())
    return {name: np.concatenate(of) for name, of in of_name.items()} | {"split": split}


def read_mapping(data: Mapping[str, Any], ignored: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Arrays, tensors or lists by name → numpy arrays; strings that are missing (None) and what NumPy masks become a
    mask. Of arrays that are ignored only that they are there.

    Raises:
        DataError: ragged rows, or objects other than strings and numbers.
    """
    arrays: dict[str, np.ndarray] = {}
    gaps, masks = {}, {}
    for name, value in data.items():
        if str(name) in ignored:
            arrays[str(name)] = NOTHING
            continue
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        if isinstance(value, np.ma.MaskedArray) and value.ndim:
            value, masks[str(name)] = _unmasked(str(name), value)
        try:
            array = np.asarray(value)
        except ValueError:
            raise DataError(f"{name!r} is ragged: its rows differ in length; pad them to one shape.") from None
        if array.dtype == object and array.ndim == 1:
            array, gaps[name] = _column(str(name), array)
        arrays[str(name)] = _plain(str(name), array)
    unseen = {name: gap for name, gap in gaps.items() if arrays[name].dtype.kind != "f"}  # where no NaN shows it
    return _with_masks(arrays, unseen | masks)


def _unmasked(name: str, array: np.ma.MaskedArray) -> tuple[np.ndarray, np.ndarray]:
    """NumPy's masked array → (values, rows that are masked)."""
    cells = np.ma.getmaskarray(array).reshape(len(array), -1)
    missing = cells.all(1)
    partly = cells.any(1) & ~missing
    if partly.any():
        raise DataError(
            f"{name!r}, row {int(partly.argmax())} is masked in part; a row has all of a modality or nothing: fill the "
            "cells, mask the row, or give the columns as modalities of their own."
        )
    return np.asarray(array.data), missing


def read_frame(frame: Any, ignored: Collection[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """A DataFrame (pandas, or alike) → arrays by name, and the feature names of those that were grouped; of those that
    are ignored only that they are there.

    Columns `modality:feature` become one (N, features) array in the order of the columns; every other column is an
    array of its own. Missing cells become NaN or, where the values are not floats, a mask. Without a column `id` the
    index is the rows' ids: whole numbers and strings as they are, anything else as its text.

    Raises:
        DataError: repeated or clashing columns, an index that names two rows alike, a group that mixes numbers and
            strings, cells of other types.
    """
    columns = [str(column) for column in frame.columns]
    if len(set(columns)) < len(columns):
        repeated = next(column for column in columns if columns.count(column) > 1)
        raise DataError(f"DataFrame: column {repeated!r} occurs more than once; rename it.")
    groups: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    features: dict[str, tuple[str, ...]] = {}
    for original, column in zip(frame.columns, columns):
        name, colon, feature = column.partition(":")
        if name in ignored:
            continue
        if name in groups and not (colon and name in features):
            raise DataError(f"DataFrame: {name!r} is a column and also a group {name}:…; rename one of them.")
        if colon:
            features[name] = (*features.get(name, ()), feature)
        groups.setdefault(name, []).append(_cells(column, frame[original]))
    arrays = {name: NOTHING for name in ignored if name in {column.partition(":")[0] for column in columns}}
    gaps = {}
    for name, group in groups.items():
        if name in features:
            arrays[name], gaps[name] = _group(name, group)
        else:
            arrays[name], gaps[name] = group[0]
        arrays[name] = _plain(name, arrays[name])
    index = None if "id" in arrays else _index(frame)
    unseen = {name: gap for name, gap in gaps.items() if arrays[name].dtype.kind != "f"}  # where no NaN shows it
    return _with_masks(arrays, unseen) | ({} if index is None else {"id": index}), features


def _index(frame: Any) -> np.ndarray | None:
    """The index as ids; None where it is the row numbers, or where the library has none."""
    labels = list(getattr(frame, "index", ()))
    if len(labels) != len(frame):
        return None
    if all(isinstance(label, (int, np.integer)) and not isinstance(label, bool) for label in labels):
        index = np.array(labels)
    else:
        index = np.array([str(label) for label in labels])
    distinct, first, counts = np.unique(index, return_index=True, return_counts=True)
    if len(distinct) < len(index):
        at = int(first[counts > 1].min())
        again = int(np.flatnonzero(index == index[at])[1])
        raise DataError(
            f"DataFrame: the index says {index[at].item()!r} of rows {at} and {again}; give every row its own in a "
            "column id, or number the rows (frame.reset_index(drop=True))."
        )
    return None if np.array_equal(index, np.arange(len(index))) else index


def _cells(name: str, series: Any) -> tuple[np.ndarray, np.ndarray]:
    """A column of a DataFrame → (values, missing)."""
    values, missing = _column(name, np.asarray(series.to_numpy()))
    if values.dtype.kind == "f" and str(series.dtype).lower().startswith(("int", "uint")) and not missing.all():
        # Nullable integers arrive as floats once a cell is missing; what they are decides what they become.
        values = np.where(missing, values[~missing][0], values).astype(np.int64)
    return values, missing


def _group(name: str, columns: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Columns of one modality → (N, features) values and the rows in which all of them are missing."""
    values, missing = [value for value, _ in columns], np.stack([gap for _, gap in columns], -1)
    strings = [value.dtype.kind in "UO" for value in values]
    if any(strings) and not all(strings):
        raise DataError(f"DataFrame: the columns of {name!r} mix numbers and strings; group only columns of a kind.")
    partly = missing.any(1) & ~missing.all(1)
    if partly.any() and any(strings):
        row = int(np.flatnonzero(partly)[0])
        raise DataError(f"DataFrame: {name!r}, row {row} lacks some of its columns; fill them, or empty them all.")
    floats = any(value.dtype.kind == "f" for value in values)
    if partly.any() or (floats and missing.any()):  # of floats no mask is kept, so that all gaps must be NaN
        values = [np.where(gap, np.nan, value) for value, gap in columns]  # the door names the cell
    return np.stack(values, -1), np.logical_and.reduce(missing, 1)


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
