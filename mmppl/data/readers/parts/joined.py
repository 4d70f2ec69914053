"""DataFrames and Series in a mapping are joined by their index: rows of one name belong together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ....errors import DataError
from ..cells import plain_array, with_masks
from ..tables.column import cells_of
from ..tables.frame import grouped, mixed


def is_indexed(value: Any) -> bool:
    """Say whether a value is a DataFrame or Series with an index, by its attributes."""
    return hasattr(value, "index") and hasattr(value, "to_numpy") and hasattr(value, "iloc")


def join_by_index(
    data: Mapping[str, Any], ignored: Collection[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]], set[str]] | None:
    """Join the DataFrames and Series of a mapping.

    Args:
        data: name → a DataFrame, a Series, or anything else.
        ignored: names to pass over.

    Returns:
        The joined arrays with their masks and ids, the names of the columns of each DataFrame, and the names of what
        was joined. A row is in the result if any of them has it; where one lacks it, it is missing there. The order is
        that of the first, then of what others have beside it. Where the indices are all row numbers, rows belong
        together by their places, and there are no ids. None: there is nothing to join.

    Raises:
        DataError: an index names two rows alike, kinds of names differ, or an array without an index stands beside
            frames with different ones.
    """
    frames = {str(name): value for name, value in data.items() if is_indexed(value) and str(name) not in ignored}
    indices = {name: _labels(name, frame) for name, frame in frames.items()}
    if not indices:
        return None
    if all(_is_row_numbers(index) for index in indices.values()):
        return *_placed(frames, indices, {}), set(frames)
    if len({index.dtype.kind == "U" for index in indices.values()}) > 1:
        words = [f"{name!r} by {'text' if index.dtype.kind == 'U' else 'numbers'}" for name, index in indices.items()]
        raise DataError(f"DataFrames name their rows in different ways ({', '.join(words)}); give all the same index.")
    for name, index in indices.items():
        distinct, counts = np.unique(index, return_counts=True)
        if len(distinct) < len(index):
            twice = distinct[counts > 1][0]
            rows = np.flatnonzero(index == twice)
            raise DataError(
                f"{name!r}: the index gives rows {rows[0]} and {rows[1]} the id {twice.item()!r}; give each its own."
            )
    union = np.array(list(dict.fromkeys(label for index in indices.values() for label in index.tolist())))
    others = [str(name) for name in data if str(name) not in frames and str(name) not in ignored]
    first = next(iter(indices.values()))
    if others and not all(np.array_equal(index, first) for index in indices.values()):
        raise DataError(f"{others[0]!r} has no index by which its rows could be joined; give it as a Series.")
    arrays, features = _placed(frames, indices, {label: row for row, label in enumerate(union.tolist())})
    ids = {} if "id" in map(str, data) else {"id": union}
    return arrays | ids, features, set(frames)


def _labels(name: str, frame: Any) -> np.ndarray:
    labels = list(frame.index)
    if all(isinstance(label, (int, np.integer)) and not isinstance(label, bool) for label in labels):
        return np.array(labels, dtype=np.int64)
    return np.array([str(label) for label in labels])


def _placed(
    frames: Mapping[str, Any], indices: Mapping[str, np.ndarray], place: Mapping[Any, int]
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Put the rows of every frame into their places, label → row; empty leaves each row where it is. Returns the arrays
    with their masks, and the names of columns."""
    arrays, gaps, features = {}, {}, {}
    for name, frame in frames.items():
        for part, values, gap, columns in _values(name, frame):
            if place:
                at = np.array([place[label] for label in indices[name].tolist()])
                missing = np.ones((len(place), *gap.shape[1:]), bool)
                missing[at] = gap
                values, gap = _spread(values, at, len(place)), missing
            arrays[part], gaps[part] = values, gap
            if columns:
                features[part] = columns
    unseen = {name: gap for name, gap in gaps.items() if arrays[name].dtype.kind != "f"}  # a NaN cannot mark these
    return with_masks(arrays, unseen), features


def _is_row_numbers(index: np.ndarray) -> bool:
    return index.dtype.kind != "U" and np.array_equal(index, np.arange(len(index)))


def _values(name: str, frame: Any) -> list[tuple[str, np.ndarray, np.ndarray, tuple[str, ...]]]:
    """Return the name and the values of a DataFrame or Series, the rows or cells that are missing, and the names of its
    columns; of a DataFrame that mixes numbers and texts, the same of each column, which is called `name:column`."""
    if not hasattr(frame, "columns"):
        values, missing = cells_of(name, frame)
        return [(name, plain_array(name, values), missing, ())]
    columns = tuple(str(column) for column in frame.columns)
    if not columns or len(set(columns)) < len(columns):
        raise DataError(f"{name!r}: a DataFrame with columns of the same name, or without any; name each.")
    cells = [cells_of(f"{name}:{column}", frame.iloc[:, at]) for at, column in enumerate(columns)]
    if mixed(cells):
        parts = [f"{name}:{column}" for column in columns]
        return [(part, plain_array(part, values), gap, ()) for part, (values, gap) in zip(parts, cells)]
    values, missing = grouped(name, cells)
    return [(name, plain_array(name, values), missing, columns)]


def _spread(values: np.ndarray, at: np.ndarray, rows: int) -> np.ndarray:
    """Put rows into their places among `rows`; the others hold NaN, or a filler that a mask covers."""
    filler = np.nan if values.dtype.kind == "f" else values[0] if len(values) else 0
    spread = np.full((rows, *values.shape[1:]), filler, dtype=values.dtype)
    spread[at] = values
    return spread
