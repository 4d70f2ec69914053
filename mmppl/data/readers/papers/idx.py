"""The idx format, in which MNIST comes."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from ....base.memory import check_room
from ....errors import DataError
from ..parts.archive import RATIO
from ..parts.files import opened, size_of

DIMENSIONS = 4


def read_idx(path: Path) -> np.ndarray:
    """Read an idx file of bytes, plain or .gz.

    Args:
        path: the path of the file.

    Returns:
        A uint8 array of the shape in its header.

    Raises:
        DataError: this is no such file, it is shorter or longer than its header says, or it does not
            fit into memory.
    """
    with opened(path) as file:
        packed = path.suffix == ".gz"
        most = size_of(file) * (RATIO if packed else 1)  # bytes that there can be in it
        try:
            unpacked: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
            return _read(path, unpacked, most)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: cannot be read ({error}); it is truncated or corrupt, fetch it again.") from None


def _read(path: Path, file: IO[bytes], most: int) -> np.ndarray:
    start = file.read(4)
    if len(start) < 4 or start[:3] != b"\0\0\x08" or not start[3]:
        raise DataError(f"{path}: not an idx file of bytes (it begins {start.hex()}); fetch it again.")
    header = file.read(4 * start[3])
    if len(header) < 4 * start[3]:
        raise DataError(f"{path}: truncated within its header; fetch it again.")
    shape = struct.unpack(f">{start[3]}I", header)
    size = math.prod(shape)
    if size > most or len(shape) > DIMENSIONS:
        raise DataError(f"{path}: its header says {str(shape)[:100]}, which cannot be in it; fetch it again.")
    check_room(size, f"{path}: what is in it")
    content = file.read(size + 1)
    if len(content) != size:
        there = f"{len(content):,} bytes" if len(content) < size else "more bytes"
        raise DataError(f"{path}: holds {there} where its header says {shape}; truncated or corrupt, fetch it again.")
    return np.frombuffer(content, np.uint8).reshape(shape)
