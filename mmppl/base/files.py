"""Files that a killed process never leaves half-written."""

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
    """64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: written beside it, flushed to the disk, then renamed."""
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
    """Replace `path` by `data` as indented JSON."""
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
    """Tensors as safetensors bytes, on the CPU and contiguous."""
    return save_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def unpack(data: bytes, where: Path) -> dict[str, Tensor]:
    """What `pack` made; DataError, which names `where`, for anything else."""
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
