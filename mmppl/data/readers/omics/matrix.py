"""Matrices of AnnData, dense or sparse, in memory or in a file, as rows of numbers: a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from ....base.disk.maps import row_blocks
from ....base.memory import check_room
from ....errors import DataError
from ..parts.hdf5 import attribute

FORMATS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}


def shape_of(matrix: Any) -> tuple[int, ...]:
    """Return the shape of a matrix; that of a sparse one in a file lies beside it."""
    if hasattr(matrix, "shape"):
        return tuple(int(length) for length in matrix.shape)
    return tuple(int(length) for length in attribute(matrix, "shape", attribute(matrix, "h5sparse_shape", ())))


def spread(matrix: Any, at: np.ndarray, n: int, place: str) -> np.ndarray:
    """Copy the rows of a matrix to their places among n rows. Nothing else of that size is held meanwhile.

    Whole numbers that are stored as floats, as counts of molecules mostly are, come back as integers.

    Args:
        matrix: (m, F), a NumPy array, a sparse matrix of SciPy, a dataset of HDF5, or a group of one in which a sparse
            matrix lies.
        at: (m,) the places.
        n: how many rows there will be.
        place: where it lies, for messages.

    Returns:
        (n, F) numbers; 0 in the rows that the matrix lacks.

    Raises:
        DataError: it has another shape or holds no numbers, its sparse form is inconsistent, or it does not fit into
            memory.
    """
    matrix = getattr(matrix, "group", matrix)  # of a sparse matrix that AnnData has left in its file
    if not hasattr(matrix, "dtype") and _format(matrix) not in FORMATS:
        raise DataError(f"{place} is {_format(matrix) or 'a group'}; store it dense, as CSR or as CSC.")
    shape = shape_of(matrix)
    if len(shape) != 2 or shape[0] != len(at):
        raise DataError(f"{place} has shape {shape}, and there are {len(at):,} names of rows; write the file again.")
    if not shape[1]:
        raise DataError(f"{place} has no features; leave it out (--as NAME=ignore), or write some.")
    rows, dtype = _rows(matrix, shape, place)
    if dtype.kind not in "biuf":
        raise DataError(f"{place} holds {dtype}; store numbers there.")
    check_room(n * shape[1] * dtype.itemsize, f"{place}, {n:,} × {shape[1]:,} numbers,")
    out = np.zeros((n, shape[1]), dtype)
    for chunk in row_blocks(out[: len(at)]):
        out[at[chunk]] = rows(slice(chunk.start, min(chunk.stop, len(at))))
    return _as_integers(out) if dtype in (np.float32, np.float64) else out


def _rows(matrix: Any, shape: tuple[int, ...], place: str) -> tuple[Callable[[slice], np.ndarray], np.dtype]:
    """Return a function that gives some rows of a matrix, dense, and the type of its numbers."""
    if sparse.issparse(matrix):
        whole = matrix.tocsr()
        return lambda rows: _dense(whole[rows], place), matrix.dtype
    if not hasattr(matrix, "dtype"):  # a group: data, indices, indptr
        return _rows_of_group(matrix, shape, place)
    return lambda rows: np.asarray(matrix[rows]), np.dtype(matrix.dtype)


def _rows_of_group(group: Any, shape: tuple[int, ...], place: str) -> tuple[Callable[[slice], np.ndarray], np.dtype]:
    form = _format(group)
    data, indices, starts = group["data"], group["indices"], group["indptr"][()]
    long = shape[0] if form == "csr" else shape[1]
    if starts.shape != (long + 1,) or starts[0] != 0 or (np.diff(starts) < 0).any() or starts[-1] != len(data):
        raise DataError(f"{place}: its sparse matrix is inconsistent (indptr); write the file again.")
    if form == "csc":
        check_room(2 * len(data) * (data.dtype.itemsize + indices.dtype.itemsize), f"{place}: a sparse matrix")
        columns = _checked(FORMATS[form]((data[()], indices[()], starts), shape=shape), place)
        whole = columns.tocsr()
        return lambda rows: _dense(whole[rows], place), data.dtype

    def some(rows: slice) -> np.ndarray:
        first, last = int(starts[rows.start]), int(starts[rows.stop])
        parts = (data[first:last], indices[first:last], starts[rows.start : rows.stop + 1] - first)
        return _dense(sparse.csr_matrix(parts, shape=(rows.stop - rows.start, shape[1])), place)

    return some, data.dtype


def _format(group: Any) -> str:
    """Return what the group of a sparse matrix says that it is."""
    said = attribute(group, "encoding-type", attribute(group, "h5sparse_format", ""))
    return str(said).removesuffix("_matrix")


def _dense(matrix: Any, place: str) -> np.ndarray:
    dense: np.ndarray = _checked(matrix, place).toarray()
    return dense


def _checked(matrix: Any, place: str) -> Any:
    """Check that no index leads out of the matrix: SciPy would write there."""
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise DataError(f"{place}: its sparse matrix is inconsistent ({error}); write the file again.") from None
    return matrix


def _as_integers(array: np.ndarray) -> np.ndarray:
    """Return floats that are all whole numbers as integers of the same width, in the same memory; others as they
    are."""
    largest = 2**24 if array.dtype == np.float32 else 2**53
    for rows in row_blocks(array):
        part = array[rows]
        if not (np.isfinite(part).all() and (np.abs(part) <= largest).all() and (part == np.floor(part)).all()):
            return array
    integers = array.view(np.int32 if array.dtype == np.float32 else np.int64)
    for rows in row_blocks(array):
        integers[rows] = array[rows]
    return integers
