"""The reader of Arrow IPC files and streams, and so of Feather files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..registry import Arrays, Request, reader
from .files import FEATHER_1, IPC
from .parquet import is_file_of, read_table_file

SUFFIXES = (".feather", ".arrow", ".arrows", ".ipc")


@reader("feather")
class FeatherReader:
    """An Arrow IPC file or stream, whatever its suffix; Feather (version 2) is the former."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is the path of such a file, by its suffix or its first bytes."""
        return is_file_of(source, SUFFIXES, (IPC, FEATHER_1))

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return the columns of the file as arrays.

        Raises:
            DataError: see `open_table` and `read_tables`.
        """
        return read_table_file(Path(source), request)
