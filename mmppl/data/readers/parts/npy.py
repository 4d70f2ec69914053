"""The .npy format: its header is believed only if the file is as long as it says."""

from __future__ import annotations

import math
import struct
import tokenize
from typing import IO

import numpy as np

from ..cells import check_dtype
from .archive import Damaged

CHUNK = 2**20
DIMENSIONS = 32
# What numpy raises for a header that is no header.
BAD_HEADER = (
    ValueError, TypeError, SyntaxError, EOFError, LookupError, AttributeError, RecursionError, OverflowError,
    MemoryError, struct.error, tokenize.TokenError,
)  # fmt: skip


class NoArray(Damaged):
    """This is some other file."""


def read_npy(file: IO[bytes], size: int, name: str) -> np.ndarray:
    """Read an array.

    Args:
        file: the .npy file, at its beginning.
        size: its length in bytes.
        name: the name of the array, for messages.

    Returns:
        The array, of the type and order that its header says.

    Raises:
        NoArray: it is some other file.
        Damaged: the header is damaged, or the file is longer or shorter than it says.
        DataError: the array holds neither numbers nor strings.
    """
    shape, fortran, dtype, header = read_header(file, size, name)
    total = size - header
    data = np.empty(total, np.uint8)
    at = 0
    while at < total:
        part = file.read(min(CHUNK, total - at))
        if not part:
            raise Damaged(f"it ends {total - at:,} bytes before its array does")
        data[at : at + len(part)] = np.frombuffer(part, np.uint8)
        at += len(part)
    if file.read(1):
        raise Damaged("it goes on where its array ends")
    if dtype.kind == "b" and total and data.max() > 1:
        raise Damaged("a bool in it is neither 0 nor 1")
    return data.view(dtype).reshape(shape, order="F" if fortran else "C")


def read_header(file: IO[bytes], size: int, name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Read the header of an array, up to its first number.

    Args:
        file: the .npy file, at its beginning.
        size: its length in bytes.
        name: the name of the array, for messages.

    Returns:
        Its shape, whether its first index changes fastest, its type, and the length of the header in bytes.

    Raises:
        NoArray: it is some other file.
        Damaged: the header is damaged, or the file is longer or shorter than it says.
        DataError: the array holds neither numbers nor strings.
    """
    shape, fortran, dtype, header = _header(file)
    check_dtype(name, dtype)
    if not dtype.itemsize:
        raise Damaged(f"its header says {dtype.str}, strings without any room")
    total = math.prod(shape) * dtype.itemsize
    if header + total != size:
        raise Damaged(f"its header says {dtype.str} of shape {shape}, {total:,} bytes, and there are {size - header:,}")
    return shape, fortran, dtype, header


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return shape, whether in Fortran's order, type, and length of the header."""
    magic = file.read(len(np.lib.format.MAGIC_PREFIX) + 2)
    if magic[:-2] != np.lib.format.MAGIC_PREFIX:
        raise NoArray("it begins otherwise")
    version = (magic[-2], magic[-1])
    try:
        if version not in ((1, 0), (2, 0)):  # 3.0 is for names of fields in other letters
            raise ValueError(f"version {version[0]}.{version[1]} of the format, which is for records")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except BAD_HEADER as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Damaged(f"its header: {reason}") from None
    if not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise Damaged(f"its header says shape {str(shape)[:100]}, where sizes are whole numbers")
    if len(shape) > DIMENSIONS:
        raise Damaged(f"its header says {len(shape)} dimensions, of which there may be {DIMENSIONS}")
    return shape, fortran, dtype, file.tell()
