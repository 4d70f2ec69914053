"""Reading a source that is larger than memory, or that is to be kept on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...base.text import size_in_words
from ...errors import DataError
from ..readers.cells import NOTHING
from ..readers.papers.multibench import of_words
from ..readers.parts.archive import RATIO
from ..readers.parts.by_part import joined_parts
from ..readers.parts.named_columns import with_named_columns
from ..readers.registry import Arrays, Request
from ..readers.tables.ordered import orders_of
from .blocks import Source
from .kept import kept_arrays
from .npz import NpzSource, map_npy
from .parquet import ParquetSource
from .store import on_disk

SOURCES: dict[str, type[NpzSource] | type[ParquetSource]] = {
    ".npz": NpzSource, ".parquet": ParquetSource, ".pq": ParquetSource,
}  # fmt: skip
GROWTH = {".npz": RATIO, ".npy": 1}  # what a file becomes at most in memory; of Parquet files the metadata tell


def read_large(source: Any, request: Request) -> Arrays | None:
    """Read a source whose arrays are to be kept on disk.

    Args:
        source: what was given to `mmppl.read`.
        request: what its caller asks for.

    Returns:
        Its arrays, which lie in files. None if another reader takes the source, since it fits into memory or has
        another format.

    Raises:
        DataError: the source cannot be read, or the disk has no room for the arrays.
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in (*SOURCES, ".npy") or not os.path.isfile(path):
        return None
    if suffix in GROWTH and not on_disk(GROWTH[suffix] * path.stat().st_size):
        return None
    if suffix == ".npy":
        return Arrays({path.stem: map_npy(path)}, path.name)
    made: Source = SOURCES[suffix](path, request.ignored)
    try:
        contents = made.contents()
    except DataError:
        return None  # its reader says what is wrong
    if not on_disk(contents.size):
        return None
    arrays, contents = kept_arrays(path, made, [suffix, sorted(request.ignored)])
    notes = (f"{size_in_words(sum(array.nbytes for array in arrays.values()))} of it are kept on disk.",)
    if suffix == ".npz" and (words := of_words(arrays, path.name)) is not None:
        return words
    features: Mapping[str, Sequence[str]] = contents.features
    levels = getattr(made, "levels", {})
    if suffix == ".npz":
        arrays, features = with_named_columns(arrays)
    arrays = joined_parts(arrays) | dict.fromkeys(made.left_out, NOTHING)
    return Arrays(
        arrays, path.name, features, notes=(*contents.notes, *notes), as_=orders_of(levels), levels=levels,
        table=suffix != ".npz",
    )  # fmt: skip
