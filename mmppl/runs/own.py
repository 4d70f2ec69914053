"""Which runs this user has fitted on this machine: only those open the files that they name.

A private folder has one empty file for each of them. Its name is a hash of the run's id, which is random, and of what
the run opens; a stranger's run is not among them, nor is a run whose data source was changed. Losing the folder only
means that queries ask for `--data`.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

from ..base.files import check_regular, sha256
from .record import RunRecord

MOST = 10_000  # runs that are remembered; beyond, the oldest tenth is forgotten
log = logging.getLogger("mmppl")


def remember(record: RunRecord) -> None:
    """Put a run that this process fits on the list. Where there can be no list, one line in the log says so."""
    try:
        folder = _list()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (why := _not_private(folder)) is None:
            _forget_oldest(folder)
            (folder / _mark(record)).touch(mode=0o600)
            return
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        why = str(getattr(error, "strerror", None) or error)
    log.warning(
        "The list of runs that were fitted here cannot be kept (%s); set $MMPPL_STATE to a folder of your own, or give "
        "--data when you ask this run.",
        why,
    )


def is_own(record: RunRecord) -> bool:
    """Whether this user fitted the run on this machine, with the data source that it names now."""
    try:
        folder = _list()
        if not record.id or _not_private(folder) is not None:
            return False
        check_regular(folder / _mark(record))
    except (OSError, RuntimeError):
        return False
    return True


def _list() -> Path:
    if chosen := os.environ.get("MMPPL_STATE"):
        return Path(chosen).expanduser() / "runs"
    from platformdirs import user_state_path  # takes 15 ms, which every command would wait for

    return user_state_path("mmppl", appauthor=False) / "runs"


def _mark(record: RunRecord) -> str:
    return sha256(json.dumps([record.id, record.data.spec, record.data.root]).encode())


def _not_private(folder: Path) -> str | None:
    """Why others may have put something into the folder; None if they cannot have."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        return f"{folder} is no folder"
    if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & 0o022):
        return f"{folder} is not this user's own, or others can write it"
    return None


def _forget_oldest(folder: Path) -> None:
    with os.scandir(folder) as found:
        marks = list(found)
    if len(marks) >= MOST:
        ages = {mark.path: mark.stat(follow_symlinks=False).st_mtime for mark in marks}
        for path in sorted(ages, key=ages.__getitem__)[: len(ages) - MOST + MOST // 10]:
            Path(path).unlink(missing_ok=True)
