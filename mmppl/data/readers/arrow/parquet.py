"""The reader of Parquet files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ....errors import DataError
from ...recipes.registry import on_disk
from ..manifest.files import with_files
from ..npz import no_such_file
from ..parts.files import opened
from ..registry import Arrays, Request, reader
from .files import PARQUET, open_table
from .table import read_tables

SUFFIXES = (".parquet", ".pq")


@reader("parquet")
class ParquetReader:
    """A Parquet file, whatever its suffix."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is the path of such a file, by its suffix or its first bytes."""
        return is_file_of(source, SUFFIXES, (PARQUET,))

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return the columns of the file as arrays.

        Raises:
            DataError: see `open_table` and `read_tables`.
        """
        return read_table_file(Path(source), request)


def is_file_of(source: Any, suffixes: tuple[str, ...], beginnings: tuple[bytes, ...]) -> bool:
    """Say whether a source is the path of a file of a format.

    Args:
        source: what was given to `mmppl.read`.
        suffixes: the suffixes of the format, in small letters.
        beginnings: the first bytes that its files may have.

    Returns:
        True if the path has such a suffix and is no folder, or the file begins so.
    """
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = Path(source)
    if path.suffix.lower() in suffixes:
        return not (os.path.isdir(path) and on_disk(source))
    if not os.path.isfile(path):
        return False
    try:
        with opened(path) as file:
            return file.read(max(map(len, beginnings))).startswith(beginnings)
    except DataError:
        return False  # another reader, or nobody, says why it cannot be opened


def read_table_file(path: Path, request: Request) -> Arrays:
    """Read a file of one table. A column of names of files becomes what is in them.

    Args:
        path: the path of a Parquet or Arrow file.
        request: what the caller of `mmppl.read` asks for.

    Returns:
        Its columns as arrays.

    Raises:
        DataError: see `open_table`, `read_tables` and `with_files`; there is no such file.
    """
    if path.parent.is_dir() and not os.path.lexists(path):
        raise no_such_file(path)
    return with_files(read_tables([open_table(path)], request, name=path.name, place=path), path, request)
