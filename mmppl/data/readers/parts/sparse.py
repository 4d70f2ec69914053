"""Sparse matrices become dense arrays: their zeros are data, and what is missing is told by a mask or NaN."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from ....base.memory import check_room
from ....errors import DataError

STORED = {  # what `scipy.sparse.save_npz` writes for each format, beside `format`, `shape` and `data`
    "csr": ("indices", "indptr"),
    "csc": ("indices", "indptr"),
    "bsr": ("indices", "indptr"),
    "dia": ("offsets",),
    "coo": ("row", "col"),
}


def is_sparse(value: Any) -> bool:
    """Say whether a value is a sparse matrix or array of SciPy."""
    module = sys.modules.get("scipy.sparse")  # without it nobody has made one
    return module is not None and bool(module.issparse(value))


def dense(name: str, matrix: Any) -> np.ndarray:
    """Return a sparse matrix or array as a NumPy array.

    Args:
        name: its name, for messages.
        matrix: a sparse matrix or array of SciPy, (N, F) or (N,).

    Returns:
        An array of the same shape and type.

    Raises:
        DataError: it does not fit into memory; or its indices lie outside its shape.
    """
    rows = " × ".join(f"{length:,}" for length in matrix.shape)
    check_room(math.prod(matrix.shape) * matrix.dtype.itemsize, f"{name!r}, sparse of {rows}, as a dense array")
    try:
        if matrix.format in ("csr", "csc", "bsr"):
            matrix.check_format(full_check=True)
        array: np.ndarray = np.ascontiguousarray(matrix.toarray())
    except (ValueError, IndexError, TypeError, RuntimeError, OverflowError) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(f"{name!r} is a damaged sparse matrix ({said}); make it anew.") from None
    return array


def of_saved(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray] | None:
    """Recognise what `scipy.sparse.save_npz` has written.

    Args:
        arrays: the arrays of an .npz file.
        name: what the matrix is called.

    Returns:
        name → (N, F), or None for any other file.

    Raises:
        DataError: the parts do not fit together; and see `dense`.
    """
    form = arrays.get("format")
    kind = form.item() if form is not None and form.ndim == 0 and form.dtype.kind == "U" else None
    if kind not in STORED or not {"shape", "data", *STORED[kind]} <= arrays.keys():
        return None
    import scipy.sparse

    shape = arrays["shape"]
    if shape.dtype.kind not in "iu" or shape.ndim != 1 or (shape < 0).any() or not 1 <= len(shape) <= 2:
        raise DataError(f"{name!r}: a sparse matrix of shape {str(shape.tolist())[:60]}; give (rows, features).")
    size = tuple(int(length) for length in shape)
    parts = [arrays[part] for part in STORED[kind]]
    if any(part.dtype.kind not in "iu" for part in parts):
        raise DataError(f"{name!r} is a damaged sparse matrix (indices that are no whole numbers); make it anew.")
    try:
        if kind == "coo":
            matrix = scipy.sparse.coo_array((arrays["data"], (parts[0], parts[1])), shape=size)
        else:
            matrix = getattr(scipy.sparse, f"{kind}_array")((arrays["data"], *parts), shape=size)
    except (ValueError, IndexError, TypeError, RuntimeError, OverflowError) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(f"{name!r} is a damaged sparse matrix ({said}); make it anew.") from None
    return {name: dense(name, matrix)}
