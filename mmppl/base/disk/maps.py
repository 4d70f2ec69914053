"""Arrays that lie in files: the system reads what of them is in use, and forgets it again where memory is short.

An array that is mapped from a file is an ordinary array, and a tensor over it an ordinary tensor. Only two things have
to be done for it: a new array of its size must be a file, too (`empty_like`), and its pages, which the system counts as
this process's memory while it has any to spare, must be let go now and then (`relieve`). They stay in the system's
cache of files, from which they come back in microseconds.
"""

from __future__ import annotations

import math
import mmap
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch import Tensor

from ...errors import DataError
from ...kernels.codegen.cache import cache_folder
from ..text import size_in_words

SMALL = 2**24  # bytes up to which what is taken from a mapped array is kept in memory
PAGES = 2**28  # bytes of files that a process may hold in memory before it lets them go
STEP = 2**22  # elements that are worked on at once
SCATTERED = 2**12  # rows anywhere in a file that are read at once: with each come 64 kB around it
STATM = Path("/proc/self/statm")

_guard = threading.Lock()
_maps: list[tuple[int, int, weakref.ref[mmap.mmap]]] = []  # first address, the one behind the last, map
_others = 0  # bytes of files that stay in memory after all maps were let go: the libraries


def scratch(shape: tuple[int, ...], dtype: np.dtype | type, folder: Path | None = None) -> np.ndarray:
    """Make an array of zeros in a file without a name, which ends with the array or with this process.

    Args:
        shape: its shape.
        dtype: its type.
        folder: where the file lies; None: in the cache.

    Returns:
        The array.

    Raises:
        DataError: the disk has no room for it.

    Example:
        >>> array = scratch((2, 3), np.float32)
        >>> array[1] = 5
        >>> array.sum(), is_mapped(array)
        (np.float32(15.0), True)
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.zeros(shape, dtype)
    folder = folder or cache_folder()
    try:
        with tempfile.TemporaryFile(dir=folder, prefix="mmppl-") as file:
            _reserve(file, size, folder)
            return _mapped(file, size, shape, dtype, mmap.ACCESS_WRITE)
    except OSError as error:
        raise no_room(folder, size, error) from None


def open_map(file: IO[bytes], offset: int, shape: tuple[int, ...], dtype: np.dtype, *, fortran: bool = False) -> Any:
    """Map an array of an open file. What is written into the array does not get into the file.

    Args:
        file: the file; it may be closed afterwards.
        offset: where the array begins, in bytes.
        shape: its shape.
        dtype: its type.
        fortran: whether its first index changes fastest.

    Returns:
        The array.
    """
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.zeros(shape, dtype)
    array = _mapped(file, offset + size, (offset + size,), np.dtype(np.uint8), mmap.ACCESS_COPY)
    return array[offset:].view(dtype).reshape(shape, order="F" if fortran else "C")


def _reserve(file: IO[bytes], size: int, folder: Path) -> None:
    """Give a file its room. A full disk is an error here, where later it would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    if shutil.disk_usage(folder).free < size:
        raise OSError(None, "the disk is full")
    file.truncate(size)


def _mapped(file: IO[bytes], size: int, shape: tuple[int, ...], dtype: np.dtype, access: int) -> np.ndarray:
    mapped = mmap.mmap(file.fileno(), size, access=access)
    array = np.frombuffer(mapped, dtype).reshape(shape)
    first = array.__array_interface__["data"][0]
    with _guard:
        _maps[:] = [known for known in _maps if known[2]() is not None]
        _maps.append((first, first + size, weakref.ref(mapped)))
    return array


def no_room(folder: Path, size: int, error: OSError) -> DataError:
    """Make the error about data that cannot be kept in a folder.

    Args:
        folder: the folder.
        size: bytes that they take.
        error: what the system says.

    Returns:
        The error.
    """
    return DataError(
        f"{folder}: {size_in_words(size)} of data cannot be kept there ({error.strerror}); free some space, or name "
        "another folder (--cache DIR, or $MMPPL_CACHE)."
    )


def is_mapped(array: np.ndarray | Tensor) -> bool:
    """Say whether an array or tensor lies in a file.

    Args:
        array: an array, a tensor on the CPU, or a view of one.

    Returns:
        True if `scratch` or `open_map` made it.
    """
    if not _maps:
        return False
    if isinstance(array, Tensor):
        address = array.data_ptr() if array.device.type == "cpu" else 0
    else:
        address = array.__array_interface__["data"][0]
    with _guard:
        return any(first <= address < end and mapped() is not None for first, end, mapped in _maps)


def empty_like(source: np.ndarray | Tensor, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Make room for what is computed from an array: in a file if the array lies in one, unless it is little.

    Args:
        source: the array.
        shape: the shape of the new one.
        dtype: its type.

    Returns:
        An array whose values are arbitrary.

    Raises:
        DataError: the disk has no room for it.
    """
    if math.prod(shape) * np.dtype(dtype).itemsize <= SMALL or not is_mapped(source):
        return np.empty(shape, dtype)
    return scratch(shape, dtype)


def row_blocks(array: np.ndarray | Tensor) -> Iterator[slice]:
    """Cut an array into slices of rows with about four million elements each, so that no pass needs a copy of a huge
    array. What lies in a file is let go behind the pass.

    Args:
        array: (N, *shape).

    Yields:
        Slices of the first axis, in order.

    Example:
        >>> list(row_blocks(np.zeros((3, 2**21))))
        [slice(0, 2, None), slice(2, 4, None)]
    """
    step = max(1, STEP // max(1, math.prod(array.shape[1:])))
    mapped = is_mapped(array)
    for start in range(0, len(array), step):
        yield slice(start, start + step)
        if mapped:
            relieve()


def rows_where(array: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Copy some rows of an array: into a file if the array lies in one.

    Args:
        array: (N, *shape).
        kept: (N,) bool, or the numbers of the rows.

    Returns:
        (n, *shape).

    Raises:
        DataError: the disk has no room for them.

    Example:
        >>> rows_where(np.array([[1], [2], [3]]), np.array([True, False, True])).tolist()
        [[1], [3]]
    """
    numbers = np.flatnonzero(kept) if kept.dtype == bool else kept
    found = empty_like(array, (len(numbers), *array.shape[1:]), array.dtype)
    step = max(1, STEP // max(1, math.prod(array.shape[1:])))
    mapped = is_mapped(array)
    step = min(step, SCATTERED) if mapped else step
    for start in range(0, len(numbers), step):
        found[start : start + step] = array[numbers[start : start + step]]
        if mapped:
            relieve()
    return found


def relieve() -> None:
    """Let go of all mapped pages, if they and what else of files is in memory are many.

    No value changes: pages that were written are kept by the system until they are in their file.
    """
    global _others
    if not _maps or _of_files() - _others < PAGES:
        return
    with _guard:
        for _, _, mapped in _maps:
            if (alive := mapped()) is not None and hasattr(alive, "madvise"):
                alive.madvise(mmap.MADV_DONTNEED)
    _others = _of_files()


def _of_files() -> int:
    """Bytes of files in this process's memory; 0 where the system does not tell."""
    try:
        return int(STATM.read_bytes().split()[2]) * mmap.PAGESIZE
    except OSError:
        return 0


def _after_fork() -> None:
    global _guard
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
