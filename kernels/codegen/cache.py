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
    """$MMPPL_CACHE, else mmppl in $XDG_CACHE_HOME or ~/.cache; where that cannot be written, a temporary folder, and a
    line that says so."""
    chosen = os.environ.get("MMPPL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mmppl"
    folder = Path(chosen).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        other = Path(tempfile.mkdtemp(prefix="mmppl-"))
        log.warning(
            "%s cannot be written (%s): what is generated goes to %s; set $MMPPL_CACHE to keep it.",
            folder, error.strerror, other,
        )  # fmt: skip
        return other
