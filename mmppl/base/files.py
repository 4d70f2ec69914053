"""Reading files that others may have put there, and writing some that a killed process never leaves half-written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ..errors import DataError
from .disk.parts import part_in, sweep


def sha256(data: bytes) -> str:
    """Return the SHA-256 hash of some bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_regular(path: Path, most: int = 2**31) -> bytes:
    """Read a file of a folder that anybody may have made. Nothing but a regular file is opened: neither a link, which
    may lead out of the folder, nor a pipe, on which reading waits, nor a device.

    Args:
        path: the file.
        most: how many bytes it may have.

    Returns:
        Its contents.

    Raises:
        OSError: it is not there, cannot be read, is no regular file or has more bytes; `strerror` says which.
    """
    check_regular(path)
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))
    descriptor = os.open(path, flags)  # a link or pipe that has come since is not followed or waited for
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        room = min(most, found.st_size + 2**20) + 1  # which is made at once; the file may grow
        data = file.read(room) if found.st_size <= most else b""
    if max(found.st_size, len(data)) > most:
        raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))
    return data


def check_regular(path: Path) -> int:
    """Return the size of a file in bytes, without opening it.

    Raises:
        OSError: it is not there or no regular file.
    """
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "a link, and no file of its own", str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return found.st_size


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file by what is written in this block. What is written is flushed to the disk and then takes the name
    of the file; where the block fails, the file stays as it is. What dead processes left half-written beside it is
    removed.

    Args:
        path: the file to replace or to create.

    Yields:
        The path to write to, beside that file, where nothing is yet.
    """
    sweep(path.parent)
    staged = part_in(path.parent)
    try:
        yield staged
        with open(staged, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(staged, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(staged)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # nobody knows the other name
    finally:
        staged.unlink(missing_ok=True)
    _sync_folder(path.parent)


def write(path: Path, data: bytes) -> None:
    """Replace a file. The data are written beside it and flushed to the disk, and then take its name. What dead
    processes left half-written beside it is removed.

    Args:
        path: the file to replace or to create.
        data: its new contents.
    """
    with replacing(path) as staged, open(staged, "xb") as file:  # never through a link
        file.write(data)


def write_json(path: Path, data: Any) -> None:
    """Replace a file by data as indented JSON.

    Args:
        path: the file to replace or to create.
        data: what `json.dumps` takes.
    """
    write(path, json.dumps(data, indent=1).encode())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders, and flushes their entries with the files
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pack(tensors: dict[str, Tensor]) -> bytes:
    """Return named tensors, on any device, as the bytes of a safetensors file."""
    return save_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def unpack(data: bytes, where: Path) -> dict[str, Tensor]:
    """Read the tensors that `pack` has packed.

    Args:
        data: the bytes of a safetensors file.
        where: the file that the error message names.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        DataError: the bytes are not a safetensors file.
    """
    try:
        return load_tensors(data)
    except (SafetensorError, KeyError) as error:  # KeyError: a type of number that torch lacks
        raise DataError(f"{where}: not a safetensors file ({error}). Restore it or fit again.") from None
