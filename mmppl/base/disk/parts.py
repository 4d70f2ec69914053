"""Files that are being written have names of their own, which tell whether their writer still lives."""

from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
import time
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

NAME = re.compile(r"\.mmppl-([0-9a-f]{8})-([0-9]+)-[0-9]+\.part")
LONGEST = 24 * 3600.0  # seconds that a write may take; an older part is nobody's, whoever has its process id now
_numbers = itertools.count()


def part_in(folder: Path) -> Path:
    """Name a file that is to be written in a folder and then renamed.

    Args:
        folder: the folder.

    Returns:
        A path that no other writer uses, nor another thread of this process. The name is short, since that of the file
        may be as long as the system allows.
    """
    part = folder / f".mmppl-{_place()}-{os.getpid()}-{next(_numbers)}.part"
    remove(part)  # left by a dead process whose id is now ours
    return part


def sweep(folder: Path) -> None:
    """Remove what dead processes left half-written in a folder. What cannot be removed stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = NAME.fullmatch(entry.name)
            if found and not _is_written(found[1], int(found[2]), entry.stat(follow_symlinks=False).st_mtime):
                remove(Path(entry.path))


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, whichever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_written(place: str, pid: int, changed: float) -> bool:
    """Whether somebody may still be writing; of a process on another machine only time tells."""
    return time.time() - changed < LONGEST and (place != _place() or _lives(pid))


def _lives(pid: int) -> bool:
    if os.name == "nt":  # where os.kill ends the process
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


@cache
def _place() -> str:
    """Where a process id means one process: this machine and, on Linux, this container."""
    name = platform.node()
    with suppress(OSError):
        name += str(os.stat("/proc/self/ns/pid").st_ino)
    return sha256(name.encode()).hexdigest()[:8]
