"""How much memory there is, asked before anything is unpacked or allocated whose size a file or header names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import DataError
from .text import size_in_words

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available() -> int:
    """Return how many bytes this process can still take: what the machine has left, or its control group, or its limit
    of address space, whichever is least.

    Returns:
        Bytes; `sys.maxsize` where the system does not say.
    """
    return max(0, min((*_of_machine(), *_of_groups(), *_of_process()), default=sys.maxsize))


def check_room(size: int, what: str) -> None:
    """Refuse what does not fit into memory.

    Args:
        size: bytes that it will take.
        what: what takes them, as the beginning of the message.

    Raises:
        DataError: there is less memory.
    """
    free = available() if size > 2**20 else size
    if size > free:
        raise DataError(
            f"{what} takes {size_in_words(size)} of memory, and {size_in_words(free)} are free; give fewer rows, or "
            "take a machine with more."
        )


def forget_peak() -> bool:
    """Begin to look for this process's peak of memory anew.

    Returns:
        Whether the system can (Linux).
    """
    try:
        (PROC / "self" / "clear_refs").write_text("5", encoding="ascii")  # "5" resets VmHWM, see proc(5)
    except OSError:
        return False
    return True


def peak() -> int | None:
    """Return the most memory that this process has held since `forget_peak`.

    Returns:
        Bytes that were resident, libraries and data included; None where the system does not say.
    """
    found = (line.split()[1] for line in _text(PROC / "self" / "status").splitlines() if line.startswith("VmHWM:"))
    return next((1024 * int(size) for size in found), None)


def _of_machine() -> Iterator[int]:
    for line in _text(PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            yield 1024 * int(line.split()[1])
            return
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:  # macOS: what it has in all
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_groups() -> Iterator[int]:
    """What each control group around this process leaves, whatever of it is a cache of files counted as free."""
    for line in _text(PROC / "self" / "cgroup").splitlines():
        _, controllers, inside = line.split(":", 2)
        if controllers == "":
            top, names = GROUPS, ("memory.max", "memory.current", "inactive_file ")
        elif "memory" in controllers.split(","):
            top, names = GROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
        else:
            continue
        here = top / inside.lstrip("/")
        for group in (here, *here.parents):
            if not group.is_relative_to(top):
                break
            most, used = (_text(group / name).strip() for name in names[:2])
            if most.isdecimal() and used.isdecimal():
                lines = _text(group / "memory.stat").splitlines()
                cached = sum(int(line.split()[1]) for line in lines if line.startswith(names[2]))
                yield int(most) - int(used) + cached


def _of_process() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _text(PROC / "self" / "statm").split()
    if most != resource.RLIM_INFINITY and used:
        yield most - int(used[0]) * resource.getpagesize()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
