"""Tables as AnnData keeps them in HDF5: a group with a dataset or group for each column, and an index.

Source: "On-disk format" of AnnData's documentation: encodings dataframe, array, string-array, categorical, nullable-*.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ....errors import DataError
from ..cells import parse_column
from ..parts.hdf5 import attribute, own, whole

CODED = "categorical"  # what AnnData calls codes with their categories


class Column(NamedTuple):
    """A column of a table.

    Args:
        values: (m,) numbers or texts.
        missing: (m,) bool, True where they are missing.
        levels: its classes in their order, if it has one.
    """

    values: np.ndarray
    missing: np.ndarray
    levels: tuple[str | int, ...] | None = None


def table(parent: Any, name: str, path: Path) -> Any:
    """Return the group of a table.

    Args:
        parent: the group of h5py that it lies in.
        name: its name.
        path: the file, for messages.

    Returns:
        The group.

    Raises:
        DataError: it was written by an AnnData before 0.7, leads out of the file or does not fit into memory.
        KeyError: there is none of that name.
    """
    found = whole(parent, name, path)
    if hasattr(found, "dtype"):
        raise DataError(
            f"{path}: {name!r} was written by an AnnData before 0.7; read it with AnnData and write it again."
        )
    return found


def index_of(group: Any, path: Path) -> np.ndarray:
    """Return the names of the rows of a table.

    Args:
        group: its group.
        path: the file, for messages.

    Returns:
        (m,) texts.

    Raises:
        DataError: a row has no name.
    """
    names = _column(group, str(attribute(group, "_index")), path)
    values, missing = (np.zeros(0), np.ones(1, bool)) if names is None else names[:2]
    if missing.any() or values.ndim != 1:
        raise DataError(f"{path}: {group.name!r} does not name each of its rows; write it again.")
    return np.array([str(name) for name in values.tolist()], dtype=str)


def columns_in(group: Any, path: Path) -> dict[str, Column | None]:
    """Return the columns of a table.

    Args:
        group: its group.
        path: the file, for messages.

    Returns:
        Name → the column; None where it is of a kind that has no numbers or texts.

    Raises:
        DataError: something leads out of the file.
    """
    index = str(attribute(group, "_index"))
    order = attribute(group, "column-order", [name for name in group if name not in (index, "__categories")])
    return {str(name): _column(group, str(name), path) for name in order}


def _column(group: Any, name: str, path: Path) -> Column | None:
    found = own(group, name, path)
    kind = str(attribute(found, "encoding-type", "array"))
    if kind == CODED:
        ordered = bool(attribute(found, "ordered", False))
        return _of_codes(own(found, "codes", path)[()], _plain(own(found, "categories", path)), ordered)
    if kind.startswith("nullable-"):
        values, missing = own(found, "values", path), own(found, "mask", path)[()].astype(bool)
        return Column(_plain(values), missing)
    if kind not in ("array", "string-array") or not hasattr(found, "dtype"):
        return None
    if "categories" in found.attrs:  # of AnnData 0.7
        categories = own(own(group, "__categories", path), name, path)
        return _of_codes(found[()], _plain(categories), bool(attribute(categories, "ordered", False)))
    try:
        return Column(*parse_column(name, _plain(found)))
    except DataError:
        return None


def _plain(dataset: Any) -> np.ndarray:
    array: np.ndarray = dataset.asstr()[()] if dataset.dtype.kind == "O" else dataset[()]
    return np.array(array.tolist(), dtype=str) if array.dtype.kind == "O" and array.size else array


def _of_codes(codes: np.ndarray, categories: np.ndarray, ordered: bool) -> Column:
    missing = codes < 0
    if (codes >= len(categories)).any():
        raise ValueError("a code of a category that there is not")
    if not len(categories):
        return Column(np.full(len(codes), np.nan), np.ones(len(codes), bool))
    levels = tuple(categories.tolist()) if ordered and categories.dtype.kind in "iuU" else None
    return Column(categories[np.where(missing, 0, codes)], missing, levels)
