"""The folder in which generated and compiled files are kept, and the log."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import cache
from pathlib import Path

log = logging.getLogger("mmppl")


@cache
def cache_folder() -> Path:
    """Return the folder for what is generated, compiled or trained once. It is made if it does not exist.

    Returns:
        $MMPPL_CACHE, else the user's cache folder of this system (on Linux ~/.cache/mmppl). Where that cannot be
        written, a temporary folder, and one line in the log says so.
    """
    try:
        folder = _chosen()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except RuntimeError as error:  # the user has no home folder
        problem = str(error)
    except OSError as error:
        problem = f"{folder} cannot be written ({error.strerror})"
    other = Path(tempfile.mkdtemp(prefix="mmppl-"))
    log.warning("%s: what is generated goes to %s; set $MMPPL_CACHE to keep it.", problem, other)
    return other


def _chosen() -> Path:
    if chosen := os.environ.get("MMPPL_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path  # takes 15 ms, which every command would wait for

    return user_cache_path("mmppl", appauthor=False)
