"""Opening the files that a user names: regular ones alone, since a pipe would be waited for and a device has no end."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ....base.memory import check_room
from ....errors import DataError

REMEDIES = {
    errno.ENOENT: "check the path",
    errno.EACCES: "make it readable, or copy it",
    errno.EPERM: "make it readable, or copy it",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ELOOP: "its links lead in a circle; give the file itself",
}
FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading. Links are followed.

    Args:
        path: the path of the file.

    Yields:
        The opened file.

    Raises:
        DataError: it is not there, cannot be read, or is no regular file.
    """
    if "\0" in str(path):
        raise DataError(f"{str(path)!r}: no path of a file; check it.")
    try:
        _check(os.stat(path), path)  # opening a device may already do something
        with open(path, "rb", opener=_unwaiting) as file:
            _check(os.fstat(file.fileno()), path)
            yield file
    except OSError as error:
        if error.errno is None:  # not of the system, but of what reads the file
            raise
        raise unreadable(path, error) from None


def contents(path: Path) -> bytes:
    """Read a file whole.

    Args:
        path: the path of the file.

    Returns:
        Its bytes.

    Raises:
        DataError: as `opened`; or it does not fit into memory.
    """
    with opened(path) as file:
        size = size_of(file)
        check_room(size, f"{path}: the file")
        return file.read(size + 1)


@contextmanager
def errors_naming(place: Path | str) -> Iterator[None]:
    """Let errors about data begin with the name of their file.

    Args:
        place: the name or path of the file; "" leaves errors as they are.

    Yields:
        Nothing.

    Raises:
        DataError: as within, with the name.
    """
    try:
        yield
    except DataError as error:
        if not place or str(place) in str(error):
            raise
        raise DataError(f"{place}: {str(error).removeprefix('DataFrame: ')}") from None


def size_of(file: BinaryIO) -> int:
    """Return the size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def unreadable(path: Path | str, error: OSError) -> DataError:
    """Make the error about a file that cannot be read.

    Args:
        path: the path of the file.
        error: what the system says.

    Returns:
        The error.
    """
    reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
    remedy = REMEDIES.get(error.errno or 0, "copy it from where it came from again")
    return DataError(f"{path}: cannot be read ({reason}); {remedy}.")


def _unwaiting(path: str, flags: int) -> int:
    """Open a file; a pipe that has taken its place is not waited for."""
    return os.open(path, flags | FLAGS)


def _check(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or device"
        raise DataError(f"{path}: {what} where a file is needed; give the path of a file.")
