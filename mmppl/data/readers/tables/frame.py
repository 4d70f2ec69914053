"""The reader of frames: tables in memory of pandas, polars, Arrow and whatever else narwhals knows."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from ....errors import DataError
from ...examine.finding import Finding, listed
from ..cells import NOTHING, plain_array, with_masks
from ..registry import Arrays, Request, reader
from .column import cells_of, dates_of, levels_of
from .of_run import numbers_of, numbers_of_run
from .ordered import orders_of

LIBRARIES = (
    "pandas", "polars", "pyarrow", "modin", "cudf", "dask", "dask_expr", "duckdb", "_duckdb", "ibis", "pyspark",
    "sqlframe", "narwhals",
)  # fmt: skip
KINDS = ("DataFrame", "LazyFrame", "Table", "RecordBatch", "DuckDBPyRelation")
ARROW_INDEX = "__index_level_0__"  # how Arrow keeps the index of pandas


@reader("frame")
class FrameReader:
    """A frame of pandas, polars, Arrow or another library that narwhals knows, or what looks like one."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is a frame, by the name of its class or by its attributes; nothing is imported."""
        if isinstance(source, (str, os.PathLike, Mapping)):
            return False
        kind = type(source)
        if kind.__module__.partition(".")[0] in LIBRARIES and kind.__name__ in KINDS:
            return True
        return hasattr(source, "columns") and hasattr(source, "to_numpy")

    def read(self, source: Any, request: Request) -> Arrays:
        """Return the columns as arrays; columns of dates become annotations, where every row has one.

        Raises:
            DataError: see `read_frame`.
        """
        return read_frame(source, request.ignored, request)


def read_frame(frame: Any, ignored: Collection[str] = (), request: Request = Request()) -> Arrays:
    """Turn the columns of a frame into arrays.

    Columns `modality:feature`, or those of a MultiIndex whose first level is the modality, become one (N, features)
    array in the order of the columns, or, where they mix numbers and strings, stay by themselves under their whole
    names. Every other column becomes an array of its own, of lists of one length an array
    (N, F). Missing cells become NaN or, if the values are not floats, a mask. Without a column `id`, the index becomes
    the row ids: whole numbers and strings as they are, anything else as its text.

    Args:
        frame: a frame of any library that narwhals knows.
        ignored: the names whose contents do not matter; a filler takes their place.
        request: what the caller asks for. A text among what a run knows as numbers makes its cell missing, and is told.

    Returns:
        The arrays by name, and the feature names of those that were grouped.

    Raises:
        DataError: columns repeat or clash, the index names two rows alike, or cells have other types.

    Example:
        >>> import pandas as pd
        >>> found = read_frame(pd.DataFrame({"gene:a": [0.5, 1.5], "gene:b": [2.0, 3.0], "sex": ["f", None]}))
        >>> found.arrays["gene"].shape, found.features["gene"], found.arrays["mask_sex"].tolist()
        ((2, 2), ('a', 'b'), [True, False])
    """
    cells: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    levels, dates, dropped, index = {}, [], [], None
    series = list(_columns(frame))
    numbers = numbers_of_run([column for column, _ in series], request)
    told: list[Finding] = []
    for column, of_frame in series:
        name, colon, _ = column.partition(":")
        if column in cells or column in dropped:
            raise DataError(f"DataFrame: column {column!r} occurs more than once; rename it.")
        if name in ignored:
            continue
        if column == ARROW_INDEX:
            index = cells_of(column, of_frame)[0]
            continue
        found = None if colon else dates_of(column, of_frame)
        if found is not None and found[1].any() and name != "id":
            dropped.append(name)
            continue
        if found is not None:
            dates.append(name)
        elif not colon and (order := levels_of(of_frame)) is not None:
            levels[name] = order
        if column in numbers and found is None:
            cells[column], more = numbers_of(column, of_frame, numbers[column])
            told += more
            continue
        cells[column] = cells_of(column, of_frame) if found is None else found
    arrays, features = arranged(cells)
    arrays = {name: NOTHING for name in ignored if name in {c.partition(":")[0] for c, _ in series}} | arrays
    if "id" not in arrays:
        index = _index(frame) if index is None else _distinct(index)
        arrays |= {} if index is None else {"id": index}
    return Arrays(
        arrays, "arrays", features, annotations=dates, as_=orders_of(levels), levels=levels,
        told=[*told, *told_of_dates(dates, dropped)],
    )  # fmt: skip


def arranged(
    cells: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Arrange columns as arrays: those called `modality:feature` together, every other by itself.

    Args:
        cells: column → its values and missing cells, as `cells_of` returns them.

    Returns:
        The arrays by name, with masks where rows are missing that no NaN can mark; and the names of the features of
        those that were grouped.

    Raises:
        DataError: a column has the name of a group.
    """
    groups: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    features: dict[str, tuple[str, ...]] = {}
    for column, of_column in cells.items():
        name, colon, feature = column.partition(":")
        if name in groups and not (colon and name in features):
            raise DataError(f"DataFrame: {name!r} is a column and also a group {name}:…; rename one of them.")
        if colon:
            features[name] = (*features.get(name, ()), feature)
        groups.setdefault(name, []).append(of_column)
    arrays: dict[str, np.ndarray] = {}
    gaps = {}
    for name, group in groups.items():
        if name in features and mixed(group):
            parts = [f"{name}:{feature}" for feature in features.pop(name)]  # which the schema takes apart
        else:
            parts, group = [name], [grouped(name, group) if name in features else group[0]]
        for part, (values, gap) in zip(parts, group):
            arrays[part], gaps[part] = plain_array(part, values), gap
    unseen = {name: gap for name, gap in gaps.items() if arrays[name].dtype.kind != "f"}  # a NaN cannot mark these
    return with_masks(arrays, unseen), features


def told_of_dates(kept: Collection[str], dropped: Collection[str]) -> list[Finding]:
    """Tell which columns of dates became annotations, and which were left out because rows lack them.

    Args:
        kept: the names of the former.
        dropped: the names of the latter.

    Returns:
        A finding for each kind that there is.
    """
    why = {
        "dates, kept as annotations, which no program sees; convert them to numbers to learn from them": kept,
        "dates that some rows lack, left out; convert them to numbers to learn from them": dropped,
    }
    return [Finding("dates", next(iter(of)), f"{listed(list(of))}: {text}.") for text, of in why.items() if of]


def _columns(frame: Any) -> Iterator[tuple[str, Any]]:
    """Go through the names of the columns, each with its column; the levels of a MultiIndex are joined by colons."""
    library = type(frame).__module__.partition(".")[0]
    if type(frame).__name__ == "RecordBatch":
        frame = sys.modules["pyarrow"].Table.from_batches([frame])  # the library of what was given is loaded
    if hasattr(frame, "iloc"):
        for at, column in enumerate(frame.columns):
            parts = [str(part) for part in column] if isinstance(column, tuple) else [str(column)]
            yield ":".join(part for part in parts if part), frame.iloc[:, at]
    elif library == "pyarrow":
        yield from zip(frame.column_names, frame.columns)
    elif library in LIBRARIES:
        import narwhals

        wrapped = frame if library == "narwhals" else narwhals.from_native(frame)
        whole = wrapped.collect() if hasattr(wrapped, "collect") else wrapped
        yield from ((column, whole[column].to_native()) for column in whole.columns)
    else:
        yield from ((str(column), frame[column]) for column in frame.columns)


def _index(frame: Any) -> np.ndarray | None:
    """Return the index as ids, or None if it is the row numbers or the library has none."""
    labels = list(getattr(frame, "index", ()))
    if not labels or len(labels) != len(frame):
        return None
    if all(isinstance(label, (int, np.integer)) and not isinstance(label, bool) for label in labels):
        index = np.array(labels)
    else:
        index = np.array([str(label) for label in labels])
    return _distinct(index)


def _distinct(index: np.ndarray) -> np.ndarray | None:
    """Return ids that differ, or None if they are the row numbers."""
    distinct, first, counts = np.unique(index, return_index=True, return_counts=True)
    if len(distinct) < len(index):
        at = int(first[counts > 1].min())
        again = int(np.flatnonzero(index == index[at])[1])
        raise DataError(
            f"DataFrame: the index gives rows {at} and {again} the id {index[at].item()!r}; give every row its own "
            "in a column id, or number the rows (frame.reset_index(drop=True))."
        )
    return None if np.array_equal(index, np.arange(len(index))) else index


def mixed(columns: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Say whether columns mix numbers and strings.

    Args:
        columns: values and missing cells of each, as `cells_of` returns them.

    Returns:
        True if they do.
    """
    return len({value.dtype.kind in "UO" for value, _ in columns}) > 1


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
