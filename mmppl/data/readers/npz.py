"""The reader of .npz files."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ...base.memory import check_room
from ...errors import DataError, suggest
from .cells import NOTHING, plain_array
from .papers.multibench import of_words
from .parts.archive import Damaged, open_archive
from .parts.by_part import joined_parts
from .parts.files import opened
from .parts.named_columns import with_named_columns
from .parts.npy import NoArray, read_npy
from .parts.sparse import of_saved
from .registry import Arrays, Request, reader

ZIP = b"PK"  # the first bytes of a zip file, and so of an .npz file
MOST = 10_000  # arrays in a file


@reader("npz")
class NpzReader:
    """Files that `numpy.savez` has written, whatever their suffix."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is the path of such a file, by its suffix or its first bytes. A .zip is left to other
        readers."""
        if not isinstance(source, (str, os.PathLike)):
            return False
        path = Path(source)
        if path.suffix == ".npz":
            return True
        if path.suffix.lower() == ".zip" or not os.path.isfile(path):
            return False
        try:
            with opened(path) as file:
                return file.read(len(ZIP)) == ZIP
        except DataError:
            return True  # `read` reports why it cannot be opened

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return the arrays of the file. Train and test parts of the same name become one array, words with what was
        heard and seen (see `papers.multibench`) become sequences, and a sparse matrix of SciPy one dense array.

        Raises:
            DataError: see `read_npz`, `of_saved` and `with_named_columns`.
        """
        path = Path(source)
        arrays = read_npz(path, request.ignored)
        arrays = of_saved(arrays, path.stem) or arrays
        if (words := of_words(arrays, path.name)) is not None:
            return words
        arrays, features = with_named_columns(arrays)
        return Arrays(joined_parts(arrays), path.name, features)


def read_npz(path: Path, ignored: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file.

    Args:
        path: the path of the file.
        ignored: the names of arrays that are not read; a filler takes their place.

    Returns:
        The arrays by name, in the order of the file.

    Raises:
        DataError: there is no such file, or it is no .npz file, truncated, corrupt, encrypted, holds Python objects, or
            would not fit into memory.
    """
    if path.parent.is_dir() and not os.path.lexists(path):
        raise no_such_file(path)
    with opened(path) as file:
        if file.read(len(ZIP)) != ZIP:
            raise not_whole(path)
    key = None
    try:
        with open_archive(path, MOST) as archive:
            keys = {name: name.removesuffix(".npy") for name in archive.names}
            if len(set(keys.values())) < len(keys):
                raise not_whole(path, "two arrays of one name")
            sizes = {}
            for name, key in keys.items():
                if key not in ignored:
                    sizes[key] = archive.size(name)
            check_room(sum(sizes.values()), f"{path}: what is packed in it")
            arrays = {}
            for name, key in keys.items():
                if key in ignored:
                    arrays[key] = NOTHING
                    continue
                with archive.open(name) as member:
                    arrays[key] = plain_array(key, read_npy(member, sizes[key], key))
            return arrays
    except NoArray:
        raise DataError(f"{path}: a zip file, but {key!r} in it is no array; write it with numpy.savez.") from None
    except Damaged as error:
        if key is None:
            raise not_whole(path, str(error)) from None
        raise DataError(f"{path}: {key!r} cannot be read ({error}); write it again with numpy.savez.") from None


def no_such_file(path: Path) -> DataError:
    """Make the error about a path where there is no file.

    Args:
        path: the path.

    Returns:
        The error, with a suggestion if a file of a similar name is there.
    """
    others = path.parent.glob(f"*{path.suffix or '.npz'}") if path.parent.is_dir() else ()
    near = suggest(path.name, [other.name for other in others])
    remedy = " Give the path of an .npz file." if path.suffix in ("", ".npz") else " Check the path."
    return DataError(f"{path}: no such file.{near or remedy}")


def not_whole(path: Path, reason: str = "truncated, or another format") -> DataError:
    """Make the error about a file that is no .npz file, or only the beginning of one.

    Args:
        path: the path of the file.
        reason: what is wrong with it.

    Returns:
        The error.
    """
    return DataError(f"{path}: not a whole .npz file ({reason}); write it with numpy.savez.")
