"""Some rows of large matrices in MATLAB's .mat files, of version 5 or 7.3 (HDF5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....base.memory import check_room
from ....errors import DataError
from ..parts.files import opened
from ..parts.hdf5 import DAMAGED, own
from .matlab import read_mat

HDF5 = b"\x89HDF\r\n\x1a\n"
BLOCK = 2**24  # bytes of a file that are read at once


def read_mat_rows(path: Path, names: Sequence[str], keep: Mapping[str, np.ndarray] = {}) -> dict[str, np.ndarray]:
    """Read matrices of a .mat file, or some of their rows.

    A file of version 7.3 is read in blocks, so that only the rows that are kept take memory; one of version 5, which
    MATLAB limits to 2 GB for each matrix, is read whole.

    Args:
        path: the path of the file.
        names: the names of the matrices.
        keep: name → (N,) bool, the rows that are wanted; a name that is absent: all.

    Returns:
        name → (n, columns), of the type that the file has.

    Raises:
        DataError: this is no such file, it is truncated or corrupt, a name is missing or no matrix of real numbers,
            or the number of its rows is not that of `keep`.
    """
    with opened(path) as file:
        begins = file.read(512 + len(HDF5))
    of_hdf5 = HDF5 in (begins[: len(HDF5)], begins[512:])  # MATLAB puts a page of its own before it
    found = _of_hdf5(path, names, keep) if of_hdf5 else read_mat(path, names)
    for name, array in found.items():
        if array.ndim != 2:
            raise DataError(f"{path}: {name} has shape {array.shape}, and is no matrix; fetch the file again.")
        if name in keep and not of_hdf5:
            _check(path, name, len(array), keep[name])
            found[name] = array[keep[name]]
    return found


def _check(path: Path, name: str, rows: int, keep: np.ndarray) -> None:
    if rows != len(keep):
        raise DataError(f"{path}: {name} has {rows:,} rows of {len(keep):,} that have a label; fetch it again.")


def _of_hdf5(path: Path, names: Sequence[str], keep: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    try:
        import h5py
    except ImportError:
        raise DataError(f"{path}: reading it takes h5py; install it with pip install 'mmppl[csd]'.") from None
    found = {}
    try:
        with h5py.File(path, "r") as file:
            for name in names:
                if name not in file:
                    there = ", ".join(sorted(map(str, file))[:20]) or "nothing"
                    raise DataError(f"{path}: has no {name}, but {there}; truncated, or another file.")
                found[name] = _rows(own(file, name, path), keep.get(name), path, name)
    except DAMAGED as error:
        said = " ".join(str(error).split())[:80]
        raise DataError(f"{path}: truncated or corrupt ({said}); fetch it again.") from None
    return found


def _rows(matrix: Any, keep: np.ndarray | None, path: Path, name: str) -> np.ndarray:
    """The rows of a matrix, whose axes HDF5 has in the opposite order."""
    if not hasattr(matrix, "dtype") or matrix.dtype.kind not in "iuf" or len(matrix.shape) != 2:
        raise DataError(f"{path}: {name} is no matrix of real numbers; fetch the file again.")
    columns, total = matrix.shape
    keep = np.ones(total, bool) if keep is None else keep
    _check(path, name, total, keep)
    check_room(int(keep.sum()) * columns * matrix.dtype.itemsize, f"{path}: the rows of {name}")
    rows = np.empty((int(keep.sum()), columns), matrix.dtype)
    step, at = max(1, BLOCK // max(1, columns * matrix.dtype.itemsize)), 0
    for start in range(0, total, step):
        some = keep[start : start + step]
        if some.any():
            block = matrix[:, start : start + step].T[some]
            rows[at : at + len(block)] = block
            at += len(block)
    return rows
