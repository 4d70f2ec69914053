"""Ids of rows from the index that pandas has written, where it has several columns, or one of floats or times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError


def longest_id(path: Path, file: Any, labels: Sequence[str]) -> int:
    """Return the length of the longest id, for which the columns of the index are read once more.

    Args:
        path: the path of the file, for messages.
        file: a `pyarrow.parquet.ParquetFile`.
        labels: the columns of the index.

    Returns:
        A number of characters, 1 at least.

    Raises:
        DataError: see `ids_in`.
    """
    batches = file.iter_batches(batch_size=2**16, columns=list(labels), use_threads=False)
    return max((len(text) for batch in batches for text in ids_in(path, batch, labels)), default=1)


def ids_in(path: Path, batch: Any, labels: Sequence[str]) -> list[str]:
    """Return the ids of some rows.

    Args:
        path: the path of the file, for messages.
        batch: a record batch of Arrow.
        labels: the columns of the index in it.

    Returns:
        A text for each row; of several columns that of a tuple, "(0, 'a')".

    Raises:
        DataError: the index lacks rows, or consists of lists.
    """
    columns = [_values(path, batch.column(name), name) for name in labels]
    return [str(row) for row in zip(*columns)] if len(columns) > 1 else [str(value) for value in columns[0]]


def _values(path: Path, cells: Any, name: str) -> list[Any]:
    import pyarrow as pa

    kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
    if cells.null_count or pa.types.is_nested(kind):
        what = "lacks rows" if cells.null_count else "consists of lists"
        raise DataError(f"{path}: {name!r}, of the index, {what}; write it as a column that is no index.")
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    values: list[Any] = cells.cast(kind if number else pa.large_string()).to_pylist()
    return values
