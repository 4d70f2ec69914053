"""The folder in which generated, compiled and trained files are kept, and the log.

What is kept is executed or computed with, so two things are checked whenever it is read. The owner and the permissions
of folder and file keep other people out. A hash at the end of each file, of its name and its contents, finds accidents:
a file that is cut off, has a wrong bit or another file's name. Such a file is made again. The bytes that were checked
are the ones that are used: nothing is opened a second time.
"""

from __future__ import annotations

import atexit
import hashlib
import itertools
import logging
import os
import platform
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

log = logging.getLogger("mmppl")

SEAL = b"\n# sha256 "  # 64 digits and a line break follow; a comment where the file is Python
TEMPORARY = re.compile(r"(?:mmppl-|\.)(\d+)\.([0-9a-f]{8})\.\w+(?:\.part)?")  # process and computer that made it
DAY = 86400.0  # seconds
_number = itertools.count()
_turn = threading.RLock()


@cache
def cache_folder() -> Path:
    """Return the folder for what is generated, compiled or trained once. It is made if it does not exist.

    Returns:
        $MMPPL_CACHE, else the user's cache folder of this system (on Linux ~/.cache/mmppl). Where that cannot be made,
        is a link, belongs to somebody else or can be written by others, a private folder for this process, and one line
        in the log says so.
    """
    try:
        folder = _chosen()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        problem = distrusted(folder.lstat())
        if not problem:
            _sweep(folder)
            return folder
        problem = f"{folder} {problem}"
    except RuntimeError as error:  # the user has no home folder
        problem = str(error)
    except OSError as error:
        problem = f"{folder} cannot be used ({error.strerror})"
    _say_private(problem)
    return _private()


def _chosen() -> Path:
    if chosen := os.environ.get("MMPPL_CACHE"):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path  # takes 15 ms, which every command would wait for

    return user_cache_path("mmppl", appauthor=False)


def distrusted(status: os.stat_result) -> str:
    """Say why a file or folder is not used.

    Windows keeps the folders of a user to that user, and has no such owners and permissions to look at.

    Args:
        status: what `os.lstat` says of it.

    Returns:
        The reason; "" for one that only this user (or root, who may do anything) can change.
    """
    if stat.S_ISLNK(status.st_mode):
        return "is a link (name the place that it leads to)"
    if hasattr(os, "geteuid"):
        if status.st_uid not in (os.geteuid(), 0):
            return "belongs to another user"
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "can be written by others (chmod go-w ends that)"
    return ""


def _say_private(problem: str) -> None:
    until = "until this process ends; set $MMPPL_CACHE to a folder of your own to keep it"
    log.warning("%s: what is generated goes to %s %s.", problem, _private(), until)


@cache
def _private() -> Path:
    """A folder for this process alone, removed when it ends; those of processes that were killed go now."""
    _sweep(Path(tempfile.gettempdir()))
    maker, folder = os.getpid(), Path(tempfile.mkdtemp(prefix=f"mmppl-{_mark()}"))

    @atexit.register
    def remove() -> None:
        if os.getpid() == maker:  # a forked child must not take it from its parent
            shutil.rmtree(folder, ignore_errors=True)

    return folder


def _mark() -> str:
    """Who makes a temporary file, for `_sweep`."""
    return f"{os.getpid()}.{_computer()}."


def _computer() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _folders() -> list[Path]:
    """The folders to look into: the second exists where something could not be written into the first."""
    return [cache_folder(), *([_private()] if _private.cache_info().currsize else [])]


def place(name: str) -> Path:
    """Return where a file of the cache lies, or would lie.

    Args:
        name: its name, with "/" below a folder of the cache.

    Returns:
        The path.
    """
    places = [folder / name for folder in _folders()]
    return next((path for path in places if path.exists()), places[0])


def kept(name: str) -> bytes | None:
    """Read a file of the cache and check that it is what was kept under that name.

    Args:
        name: as for `place`.

    Returns:
        The bytes. None if there is no such file, if it is damaged, or if somebody else may have written it, of which
        one line in the log tells.
    """
    return next((data for folder in _folders() if (data := _checked(folder, name)) is not None), None)


def _checked(folder: Path, name: str) -> bytes | None:
    path = folder / name
    try:
        for part in (path.parent, path):
            if problem := distrusted(part.lstat()):
                log.warning("%s %s: it is not used, and its contents are made again.", part, problem)
                return None
        sealed = _read(path)
    except OSError:  # it is not there, or is no file
        return None
    data, seal = sealed[: -len(SEAL) - 65], sealed[-len(SEAL) - 65 :]
    return data if seal == _seal(name, data) else None


def _read(path: Path) -> bytes:
    """The bytes of a file that is trusted once it is open, whatever has taken its name since the first look."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if distrusted(status) or not stat.S_ISREG(status.st_mode):
            return b""
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _seal(name: str, data: bytes) -> bytes:
    digest = hashlib.sha256(name.encode() + b"\n" + data)
    return SEAL + digest.hexdigest().encode() + b"\n"


def keep(name: str, data: bytes) -> None:
    """Keep a file, completely or not at all. A cache that takes no more files is no error.

    Where the cache folder cannot be written, the file is kept until this process ends, and one line in the log says so.

    Args:
        name: as for `place`.
        data: the contents.
    """
    try:
        _write(cache_folder(), name, data)
    except OSError as error:
        if cache_folder() != _private():
            _say_unwritable(str(error.strerror))
            with suppress(OSError):
                _write(_private(), name, data)


@cache
def _say_unwritable(reason: str) -> None:
    _say_private(f"{cache_folder()} cannot be written ({reason})")


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if distrusted(path.parent.lstat()):
        raise PermissionError(None, "a folder in it is not the user's own")
    staged = folder / f".{_mark()}{next(_number)}.part"
    staged.unlink(missing_ok=True)  # of an earlier process with this number
    try:
        # Never through a link, and not for others to write, whatever the umask.
        with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644), "wb") as f:
            f.write(data + _seal(name, data))
            f.flush()
            os.fsync(f.fileno())
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)
    if os.name != "nt":  # Windows opens no folders, and flushes their entries with the files
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder that is removed at the end of a `with` block.

    It lies in the cache, where the next process finds it if this one is killed.
    """
    try:
        made = tempfile.mkdtemp(prefix=f".{_mark()}", suffix=".part", dir=cache_folder())
    except OSError:  # the cache can only be read
        made = tempfile.mkdtemp(prefix=f"mmppl-{_mark()}")
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove the temporary files and folders of processes that have ended without removing them."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if made_by := TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if distrusted(status) or not _ended(int(made_by[1]), made_by[2], time.time() - status.st_mtime):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        os.unlink(entry.path)


def _ended(process: int, computer: str, age: float) -> bool:
    """Whether the maker of a temporary file has ended. A day without change must do where nobody can be asked: on
    another computer (or in another container), and on Windows."""
    if os.name != "nt" and computer == _computer():
        try:
            os.kill(process, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:  # of another user
            pass
    return age > DAY


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let only one thread of this process make what is missing, so that it is made once."""
    with _turn:
        yield


def _after_fork() -> None:
    global _turn
    _turn = threading.RLock()  # the thread that held it does not exist in the child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
