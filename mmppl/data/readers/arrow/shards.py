"""The reader of tables that come in several files: a folder of parts, or a list of paths."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....base.text import as_counted
from ....errors import DataError
from ...recipes.registry import on_disk
from ...splits import PART_OF
from ..manifest.files import with_files
from ..parts.tree import files_below
from ..registry import Arrays, Request, reader
from . import feather, parquet
from .files import open_table
from .table import read_tables

SUFFIXES = (*parquet.SUFFIXES, *feather.SUFFIXES)
WORD = re.compile(r"[a-z]+")


@reader("shards")
class ShardsReader:
    """Folders with Parquet or Arrow files, and lists of their paths. (Its name makes it be asked before `recordings`,
    which takes any folder.)"""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is a list of such paths, or a folder with such a file in it or one folder below."""
        if isinstance(source, (list, tuple)):
            return bool(source) and all(isinstance(one, (str, os.PathLike)) and _is_part(Path(one)) for one in source)
        if not isinstance(source, (str, os.PathLike)) or not os.path.isdir(source) or not on_disk(source):
            return False
        return any(_is_part(path) for path in _near(Path(source)))

    def read(self, source: Any, request: Request) -> Arrays:
        """Return the rows of all files, in the order of the list, or of the names in the folder (part-10 comes after
        part-9). Where all names begin with a part of the data (train-0.parquet, or test/0.parquet), that is the split.

        Raises:
            DataError: files are of several formats or partitioned by folders; and see `open_table` and `read_tables`.
        """
        if isinstance(source, (list, tuple)):
            return _read([Path(one) for one in source], [""] * len(source), request, f"{len(source)} files")
        folder = Path(source)
        names = sorted((name for name in files_below(folder) if _is_part(Path(name))), key=as_counted)
        suffixes = sorted({Path(name).suffix.lower() for name in names})
        if len(suffixes) > 1:
            raise DataError(f"{folder}: files of several formats ({', '.join(suffixes)}); leave those of one.")
        keyed = next((name for name in names if any("=" in inner for inner in Path(name).parts[:-1])), None)
        if keyed is not None:
            raise DataError(
                f"{folder}: partitioned by folders ({Path(keyed).parent}), whose names hold a column; write it as one "
                "table with that column in it."
            )
        parts = [_part_of(name) for name in names]
        return _read([folder / name for name in names], parts, request, str(folder))


def _read(paths: Sequence[Path], parts: Sequence[str], request: Request, place: str) -> Arrays:
    files = [open_table(path) for path in paths]
    found = with_files(read_tables(files, request, name=Path(place).name, place=place), paths[0], request)
    if "split" in found.arrays or not all(parts) or len(set(parts)) < 2:
        return found
    split = np.repeat(np.array(parts), [file.rows for file in files])
    return dataclasses.replace(found, arrays={**found.arrays, "split": split})


def _is_part(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(("_", "."))


def _near(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder and in the folders in it, as far as they may be listed."""
    try:
        inside = sorted(folder.iterdir())
        yield from inside
        for path in inside:
            if path.is_dir() and not path.is_symlink():
                yield from path.iterdir()
    except OSError:
        return  # who reads it says what is wrong


def _part_of(name: str) -> str:
    """Return the part of the data that the name of a file begins with, or that of its folder; "" if neither does."""
    for piece in reversed(Path(name).parts):
        word = WORD.match(piece.lower())
        if word and word.group() in PART_OF:
            return PART_OF[word.group()]
    return ""
