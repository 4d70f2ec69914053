"""Converted sources in the cache folder that no process uses any more are removed, least recently used first."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from ...base.disk.parts import part_in, remove

try:
    import fcntl as _fcntl
except ImportError:  # Windows, where files that are mapped cannot be renamed
    _fcntl = None  # type: ignore[assignment]
fcntl: ModuleType | None = _fcntl

CONTENTS = "contents.json"
_held: dict[Path, int] = {}  # folder → a descriptor whose shared lock says that this process uses it


def hold(folder: Path) -> None:
    """Say that a folder is used: now, and by this process until it ends.

    Args:
        folder: the folder of one converted source.

    Raises:
        OSError: it is not there, or another process removes it right now.
    """
    file = folder / CONTENTS
    with suppress(OSError):  # of somebody else, or on a disk that is only read: it may still be used
        os.utime(file)
    if fcntl is None:
        return
    if folder in _held:
        if os.path.samestat(os.fstat(_held[folder]), os.stat(file)):
            return
        os.close(_held.pop(folder))  # of a folder that was there before
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            raise
        return  # a file system without locks
    _held[folder] = descriptor


def forget_unused(folder: Path, keep: int = 0) -> tuple[int, int]:
    """Remove converted sources, those first that were not used for longest, and never one that a process uses.

    Args:
        folder: the folder of all of them.
        keep: the bytes that may be left.

    Returns:
        The bytes that were removed, and those that are left.

    Example:
        >>> forget_unused(Path("no such folder"))
        (0, 0)
    """
    found = []
    for file in folder.glob(f"*/{CONTENTS}"):
        with suppress(OSError):
            size = sum(part.stat().st_size for part in file.parent.iterdir())
            found.append((file.stat().st_mtime_ns, size, file.parent))
    left = sum(size for _, size, _ in found)
    freed = 0
    for _, size, one in sorted(found):
        if left > keep and _removed(one):
            left, freed = left - size, freed + size
    return freed, left


def _removed(folder: Path) -> bool:
    """Remove a folder, if no process uses it."""
    part = part_in(folder.parent)
    try:
        descriptor = os.open(folder / CONTENTS, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.rename(folder, part)
        finally:
            os.close(descriptor)
        if fcntl is None:
            os.rename(folder, part)
    except OSError:
        return False
    remove(part)
    return True
