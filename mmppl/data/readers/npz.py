"""The reader of .npz files."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, suggest
from ..splits import PARTS
from .cells import NOTHING, objects_message, plain_array
from .registry import Arrays, Request, reader

ZIP = b"PK"  # the first bytes of a zip file, and so of an .npz file

# What numpy and zipfile raise for a file that is damaged, encrypted (RuntimeError) or compressed in an unknown way.
CORRUPT = (ValueError, KeyError, EOFError, MemoryError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error)


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
            with open(path, "rb") as opened:
                return opened.read(len(ZIP)) == ZIP
        except OSError:
            return True  # `read` reports why it cannot be opened

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return the arrays of the file. Train and test parts of the same name become one array.

        Raises:
            DataError: see `read_npz`.
        """
        path = Path(source)
        return Arrays(joined_parts(read_npz(path, request.ignored)), path.name)


def read_npz(path: Path, ignored: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file.

    Args:
        path: the path of the file.
        ignored: the names of arrays that are not read; a filler takes their place.

    Returns:
        The arrays by name, in the order of the file.

    Raises:
        DataError: there is no such file, or it is no .npz file, truncated, corrupt, encrypted, or holds Python objects.
    """
    if not os.path.isfile(path):
        raise no_such_file(path)
    arrays = {}
    key = "index"
    try:
        with open(path, "rb") as opened:
            if opened.read(len(ZIP)) != ZIP or not zipfile.is_zipfile(opened):
                raise not_whole(path)
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                if key in ignored:
                    arrays[key] = NOTHING
                    continue
                array = file[key]
                if not isinstance(array, np.ndarray):  # then it is the bytes of some other file
                    raise DataError(f"{path}: a zip file, but {key!r} in it is no array; write it with numpy.savez.")
                arrays[key] = plain_array(key, array)
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable, or copy it.") from None
    except (*CORRUPT, OSError) as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{path}: {objects_message(key)}") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: {key!r} cannot be read ({reason}); write it again with numpy.savez.") from None
    return arrays


def no_such_file(path: Path) -> DataError:
    """Make the error about a path where there is no file.

    Args:
        path: the path.

    Returns:
        The error, with a suggestion if a file of a similar name is there.
    """
    near = suggest(path.name, [p.name for p in path.parent.glob("*.npz")] if os.path.isdir(path.parent) else [])
    return DataError(f"{path}: no such file.{near or ' Give the path of an .npz file.'}")


def not_whole(path: Path) -> DataError:
    """Make the error about a file that is no .npz file, or only the beginning of one.

    Args:
        path: the path of the file.

    Returns:
        The error.
    """
    return DataError(f"{path}: not a whole .npz file (truncated, or another format); write it with numpy.savez.")


def joined_parts(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Join arrays that come in parts (MNIST-MIX: X_train, X_test, y_train, y_test) into X, y and `split`.

    Arrays count as parts only if all of them are named so, every name has the same parts, train is one of them, and
    their shapes and types agree.

    Args:
        arrays: the arrays by name.

    Returns:
        The joined arrays, or `arrays` unchanged if they are no parts.
    """
    cut = {key: key.rpartition("_") for key in arrays}
    names = dict.fromkeys(name for name, _, _ in cut.values())
    parts = [part for part in PARTS if f"{next(iter(names), '')}_{part}" in arrays]
    if "train" not in parts or len(parts) < 2 or {*arrays} != {f"{name}_{part}" for name in names for part in parts}:
        return arrays
    if not all(names) or any(array.ndim == 0 for array in arrays.values()):
        return arrays
    of_name = {name: [arrays[f"{name}_{part}"] for part in parts] for name in names}
    lengths = {tuple(len(array) for array in of) for of in of_name.values()}
    alike = all(len({(array.shape[1:], array.dtype.kind) for array in of}) == 1 for of in of_name.values())
    if len(lengths) > 1 or not alike:
        return arrays
    split = np.repeat(np.array(parts), lengths.pop())
    return {name: np.concatenate(of) for name, of in of_name.items()} | {"split": split}
