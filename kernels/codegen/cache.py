"""Where generated and compiled files are kept, and what is said about it."""

from __future__ import annotations

import logging
import os
import tempfile
from functools import cache
from pathlib import Path

log = logging.getLogger("mmppl")


@cache
def cache_folder() -> Path:
    """The folder for what is generated, compiled or trained once, made where there is none.

    Returns:
        $MMPPL_CACHE, else the user's cache folder of this system (on Linux ~/.cache/mmppl); where that cannot be
        written, a temporary folder, and a line that says so.
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
