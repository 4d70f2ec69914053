"""Files of answers: which format a suffix stands for."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UsageError, suggest

if TYPE_CHECKING:
    from ..answer import Answer

WRITERS = {  # suffix → the module whose function save_<suffix> writes it
    ".npz": "npz",
    ".csv": "csv",
    ".parquet": "parquet",
    ".h5ad": "omics",
    ".h5mu": "omics",
}
IN_BLOCKS = (".npz", ".csv", ".parquet")  # those that `written` writes block after block


def check_file(path: Path, option: str = "") -> None:
    """Check that an answer can be written to a path, before anything is computed.

    Args:
        path: a path.
        option: the option of the command line that named it.

    Raises:
        UsageError: no format has its suffix, or its folder does not exist.
    """
    place, known = f"{option} {path}".strip(), list(WRITERS)
    if path.suffix not in WRITERS:
        raise UsageError(f"{place}: answers are written as {', '.join(known)}.{suggest(path.suffix, known)}")
    if not os.path.isdir(path.parent):
        raise UsageError(f"{place}: there is no folder {path.parent}; make it first.")


def save(answer: Answer, path: str | Path) -> None:
    """Write an answer in the format of a file's suffix. What writes it is imported now.

    Args:
        answer: the answer.
        path: the file to replace or to create.

    Raises:
        UsageError: no format has its suffix, its folder does not exist, or a package is not installed.
    """
    path = Path(path)
    check_file(path)
    module = importlib.import_module(f"{__package__}.{WRITERS[path.suffix]}")
    getattr(module, f"save_{path.suffix[1:]}")(answer, path)
