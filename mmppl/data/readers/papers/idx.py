"""The idx format, in which MNIST comes."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from ....errors import DataError


def read_idx(path: Path) -> np.ndarray:
    """Read an idx file of bytes, plain or .gz.

    Args:
        path: the path of the file.

    Returns:
        A uint8 array of the shape in its header.

    Raises:
        DataError: this is no such file, or it is shorter or longer than its header says.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); it is truncated or corrupt, fetch it again.") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{path}: not an idx file of bytes (it begins {content[:4].hex()}); fetch it again.")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise DataError(f"{path}: truncated within its header; fetch it again.")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    if len(content) - header != int(np.prod(shape, dtype=np.int64)):
        raise DataError(
            f"{path}: holds {len(content) - header:,} bytes where its header says {shape}; truncated, fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
