"""The reader of DataFrames; their library is not imported."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ....errors import DataError
from ..cells import NOTHING, parse_column, plain_array, with_masks
from ..registry import Arrays, Request, reader


@reader("frame")
class FrameReader:
    """A DataFrame of pandas or of a similar library."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source has the attributes of a DataFrame and is no mapping."""
        return hasattr(source, "columns") and hasattr(source, "to_numpy") and not isinstance(source, Mapping)

    def read(self, source: Any, request: Request) -> Arrays:
        """Return the columns as arrays.

        Raises:
            DataError: see `read_frame`.
        """
        arrays, features = read_frame(source, request.ignored)
        return Arrays(arrays, "arrays", features)


def read_frame(frame: Any, ignored: Collection[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Turn the columns of a DataFrame into arrays.

    Columns `modality:feature` become one (N, features) array in the order of the columns. Every other column becomes an
    array of its own. Missing cells become NaN or, if the values are not floats, a mask. Without a column `id`, the
    index becomes the row ids: whole numbers and strings as they are, anything else as its text.

    Args:
        frame: a DataFrame of pandas or of a similar library.
        ignored: the names whose contents do not matter; a filler takes their place.

    Returns:
        The arrays by name, and the feature names of those that were grouped.

    Raises:
        DataError: columns repeat or clash, the index names two rows alike, a group mixes numbers and strings, or cells
            have other types.
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
        groups.setdefault(name, []).append(cells_of(column, frame[original]))
    arrays = {name: NOTHING for name in ignored if name in {column.partition(":")[0] for column in columns}}
    gaps = {}
    for name, group in groups.items():
        if name in features:
            arrays[name], gaps[name] = grouped(name, group)
        else:
            arrays[name], gaps[name] = group[0]
        arrays[name] = plain_array(name, arrays[name])
    index = None if "id" in arrays else _index(frame)
    unseen = {name: gap for name, gap in gaps.items() if arrays[name].dtype.kind != "f"}  # a NaN cannot mark these
    return with_masks(arrays, unseen) | ({} if index is None else {"id": index}), features


def _index(frame: Any) -> np.ndarray | None:
    """Return the index as ids, or None if it is the row numbers or the library has none."""
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
            f"DataFrame: the index gives rows {at} and {again} the id {index[at].item()!r}; give every row its own "
            "in a column id, or number the rows (frame.reset_index(drop=True))."
        )
    return None if np.array_equal(index, np.arange(len(index))) else index


def cells_of(name: str, series: Any) -> tuple[np.ndarray, np.ndarray]:
    """Convert a column of a DataFrame, or a Series, to numbers or strings.

    Args:
        name: its name, for messages.
        series: the column.

    Returns:
        (N,) values, and (N,) bool, True where they are missing.

    Raises:
        DataError: its cells are neither all numbers nor all strings.
    """
    column = np.asarray(series.to_numpy())
    if column.ndim != 1:
        raise DataError(f"DataFrame: column {name!r} has shape {column.shape}; give one value per row.")
    values, missing = parse_column(name, column)
    if (
        values.dtype.kind == "f"
        and str(getattr(series, "dtype", "")).lower().startswith(("int", "uint"))
        and not missing.all()
    ):
        # Nullable integers arrive as floats once a cell is missing, but their likelihood depends on being integers.
        values = np.where(missing, values[~missing][0], values).astype(np.int64)
    return values, missing


def grouped(name: str, columns: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Join the columns of one modality.

    Args:
        name: the name of the modality, for messages.
        columns: values and missing cells of each, as `cells_of` returns them.

    Returns:
        (N, features) values, with NaN in the missing cells of floats; and bool, True where they are missing: (N,) rows
        if each has all columns or none, else (N, features).

    Raises:
        DataError: the columns mix numbers and strings.
    """
    values, missing = [value for value, _ in columns], np.stack([gap for _, gap in columns], -1)
    strings = [value.dtype.kind in "UO" for value in values]
    if any(strings) and not all(strings):
        raise DataError(f"DataFrame: the columns of {name!r} mix numbers and strings; group only columns of one kind.")
    if any(value.dtype.kind == "f" for value in values):  # floats get no mask, so every gap must be NaN
        values = [np.where(gap, np.nan, value) for value, gap in columns]
    rows: np.ndarray = np.logical_and.reduce(missing, 1)
    return np.stack(values, -1), rows if (missing.any(1) == rows).all() else missing
