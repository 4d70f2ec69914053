"""Writing files so that a killed process never leaves one half-written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ..errors import DataError


def sha256(data: bytes) -> str:
    """Return the SHA-256 hash of some bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write(path: Path, data: bytes) -> None:
    """Replace a file. The data are written beside it and flushed to the disk, and then take its name.

    Args:
        path: the file to replace or to create.
        data: its new contents.
    """
    staged = path.with_name(f".{path.name}.{os.getpid()}.part")
    staged.unlink(missing_ok=True)
    try:
        with open(staged, "xb") as file:  # never through a link
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    _sync_folder(path.parent)


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


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, whichever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
