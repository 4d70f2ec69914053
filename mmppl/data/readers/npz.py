"""Reads .npz files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ...errors import DataError, suggest
from ..splits import PARTS
from .cells import NOTHING, _objects, _plain

# What numpy and zipfile raise about a file that is damaged, encrypted (RuntimeError) or packed in an unknown way.
CORRUPT = (ValueError, KeyError, EOFError, MemoryError, RuntimeError, SyntaxError, zipfile.BadZipFile, zlib.error)


OTHERS = {  # what people have, and how it gets in
    ".wav": "recordings are read by the folder or .zip that they lie in; give that",
    **dict.fromkeys(
        (".csv", ".tsv", ".parquet", ".feather", ".xlsx", ".h5", ".hdf5", ".pkl"),
        "a table; read it with pandas and give the DataFrame in Python, or write its columns with numpy.savez",
    ),
}


def read_npz(path: Path, ignored: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Arrays of an .npz file, in its order; of those that are ignored only that they are there.

    Raises:
        DataError: no such file, not an .npz, truncated, corrupt, encrypted, or with arrays of Python objects.
    """
    if not path.is_file():
        near = suggest(path.name, [p.name for p in path.parent.glob("*.npz")] if path.parent.is_dir() else [])
        raise DataError(f"{path}: no such file.{near or ' Give the path of an .npz file.'}")
    if path.suffix.lower() in OTHERS:
        raise DataError(f"{path}: {OTHERS[path.suffix.lower()]}.")
    arrays = {}
    key = "index"
    try:
        with open(path, "rb") as opened:
            if opened.read(2) != b"PK" or not zipfile.is_zipfile(opened):
                raise DataError(
                    f"{path}: not a whole .npz file (truncated, or another format); write it with numpy.savez."
                )
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                if key in ignored:
                    arrays[key] = NOTHING
                    continue
                array = file[key]
                if not isinstance(array, np.ndarray):  # the bytes of whatever it is
                    raise DataError(f"{path}: a zip file, but {key!r} in it is no array; write it with numpy.savez.")
                arrays[key] = _plain(key, array)
    except DataError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable, or copy it.") from None
    except (*CORRUPT, OSError) as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{path}: {_objects(key)}") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: {key!r} cannot be read ({reason}); write it again with numpy.savez.") from None
    return arrays


def joined_parts(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays in parts (MNIST-MIX: X_train, X_test, y_train, y_test) as X, y and `split`; any others as they are.

    They are in parts if all are named so, every name has the same ones, train among them, and they fit together.
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
