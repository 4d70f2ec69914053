"""The files of a run folder: run.json with its digest, hashes, the lock, the model card."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ..base.disk.parts import sweep
from ..base.files import read_regular, sha256, write
from ..errors import DataError, LockedError, UsageError
from .compare import differing, in_words
from .own import remember
from .record import METRICS, PROGRAM, WEIGHTS, RunRecord, read_record, write_record

T = TypeVar("T")
RESTORE = "Restore it or fit again."

LARGEST, LARGEST_WEIGHTS = 2**28, 2**40  # bytes of a file of a run

def read_checked(path: Path, record: RunRecord, name: str, most: int | None = None, remedy: str = RESTORE) -> bytes:
    """Read a file of a run.

    Args:
        path: the run folder.
        record: the record of the run.
        name: of the file.
        most: bytes that it may have; None: as many as are plausible.
        remedy: what to do about a damaged one.

    Returns:
        Its content. Of metrics.jsonl of a fit that goes on, only what run.json tells of: the lines up to the newest
        weights or state.

    Raises:
        DataError: it is missing or too long, or its hash is not the one in run.json.
    """
    most = most or (LARGEST_WEIGHTS if WEIGHTS.fullmatch(name) else LARGEST)
    file = path / name
    try:
        data = read_regular(file, most)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}). {remedy}") from None
    if name == METRICS and record.status == "running":
        data = data[: record.logged]
    if sha256(data) != record.sha256.get(name):
        raise DataError(f"{file}: its hash is wrong, the file was changed. {remedy}")
    return data


def as_it_stands(path: Path, record: RunRecord, look: Callable[[RunRecord], T]) -> T:
    """Look into files of a run that a fit may be writing at the same time.

    Args:
        path: the run folder.
        record: its record, as just read.
        look: reads what a record names.

    Returns:
        What `look` found. Where a file is missing or another, and so is the record by now, it looks again.

    Raises:
        DataError: a file is not what the record says, and the fit has changed nothing.
    """
    while True:
        try:
            return look(record)
        except DataError:
            before, record = record, read_record(path)
            if record == before:
                raise


def sweep_run(path: Path) -> None:
    """Remove what dead processes left half-written in the folders of a run; nothing that a living one writes."""
    for folder in (path, path / "state", path / "figures"):
        if folder == path or not folder.is_symlink():
            sweep(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the run folder's lock. The lock dies with its process.

    Raises:
        LockedError: another fit holds it.
        DataError: the lock is a link.
        UsageError: the file system has no locks.
    """
    from filelock import lock_descriptor  # only a fit waits for its import

    file = path / ".lock"
    a_link = DataError(f"{file}: a link, and a lock is a file of the run's own. Remove it.")
    if file.is_symlink():
        raise a_link
    try:  # O_NOFOLLOW, where the system has it, also refuses a link that is made after that look
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError:
        if file.is_symlink():
            raise a_link from None
        raise
    try:
        try:
            held = lock_descriptor(descriptor, blocking=False)
        except OSError as error:
            raise UsageError(
                f"{path}: its file system has no locks ({error.strerror}). Choose an --out on a local disk."
            ) from None
        if not held:
            raise LockedError(f"{path}: another fit is writing this run. Wait for it, or choose another --out.")
        yield
    finally:
        os.close(descriptor)


def figures_folder(path: Path) -> Path:
    """Return RUN/figures, and make the folder if there is none.

    Args:
        path: the run folder.

    Returns:
        The path of the folder.

    Raises:
        DataError: it is a link or a file instead of a folder of the run's own.
    """
    folder = path / "figures"
    if folder.is_symlink() or folder.is_file():
        raise DataError(f"{folder}: a link or a file, and the figures want a folder of the run's own. Remove it.")
    folder.mkdir(exist_ok=True)
    return folder


def make_folder(path: Path, resume: bool) -> None:
    if resume:
        if not os.path.isdir(path):
            raise UsageError(f"nothing to resume: there is no {path}. Leave --resume out.")
        others = [p.name for p in path.iterdir() if p.name not in (".lock", "program.py") and p.suffix != ".part"]
        if others and not (path / "run.json").is_file():
            raise UsageError(f"nothing to resume: {path} is no run folder, it has {others[0]}. Choose another --out.")
        return
    if os.path.exists(path) and (not path.is_dir() or any(path.iterdir())):
        if (path / ".lock").exists():
            with locked(path):  # a fit that is still writing it is the better reason to refuse
                pass
        raise UsageError(f"{path} exists. Choose another --out, or go on with --resume.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.ELOOP):
            raise UsageError(f"{path}: no folder can be made there ({error.strerror}). Choose another --out.") from None
        raise


def clear_folder(path: Path) -> None:
    """Remove a folder; where `path` is a link to it, the link stays, and an empty folder behind it."""
    folder = path.resolve()
    shutil.rmtree(folder, ignore_errors=True)  # what cannot be removed must not hide why it has to be
    if path.is_symlink():
        folder.mkdir(exist_ok=True)


def begin_folder(path: Path, record: RunRecord, source: bytes, resume: bool) -> RunRecord:
    """Write program.py and run.json, or check that the run to resume is of this program, data and settings."""
    if resume and (path / "run.json").is_file():
        stored = read_record(path)
        found = differing([record, stored])
        if not found and record.data.fingerprint != stored.data.fingerprint:
            found = {"data": [one.data.fingerprint for one in (record, stored)]}
        if found:
            kind = (
                DataError if all(name == "data" or name.startswith("likelihood of ") for name in found) else UsageError
            )
            what = in_words(found, ", the run has ")
            raise kind(f"{path}: cannot resume: {what}. Go on with what the run has, or choose another --out.")
        read_checked(path, stored, PROGRAM)
        if stored.id and (stored.data.spec, stored.data.root) == (record.data.spec, record.data.root):
            remember(stored)
        return stored
    write(path / PROGRAM, source)
    write_record(path, record)
    remember(record)
    return record
