"""The error about a source that no reader takes: why, and what to give instead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...errors import DataError, MMPPLError, UsageError
from ..recipes.registry import no_recipe
from .npz import no_such_file, not_whole

OTHERS = {  # suffixes of other formats, and how to read these
    ".wav": "recordings are read by the folder or .zip that they lie in; give that",
    **dict.fromkeys(
        (".xlsx", ".h5", ".hdf5"),
        "a table; read it with pandas and give the DataFrame in Python, or write its columns with numpy.savez",
    ),
    **dict.fromkeys(
        (".pkl", ".pickle"),
        "a pickle, which could execute anything; convert what is plain data in it: mmppl data --convert FILE OUT.npz",
    ),
    ".csd": "one of the files of the CMU SDK; they are read together, so give the folder that they lie in",
}


def refusal(source: Any) -> MMPPLError:
    """Make the error about a source that no reader takes.

    Args:
        source: what was given to `mmppl.read`.

    Returns:
        A UsageError if it names no file or recipe, or a DataError about a file of another format.
    """
    if not isinstance(source, (str, os.PathLike)):
        return UsageError(
            f"read: cannot read a {type(source).__name__}; give a recipe, an .npz file, arrays by name or a DataFrame."
        )
    path = Path(source)
    if os.path.lexists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        return DataError(f"{path}: neither a file nor a folder of recordings; give the path of an .npz file.")
    if os.path.isfile(path):
        other = OTHERS.get(path.suffix.lower())
        return DataError(f"{path}: {other}.") if other else not_whole(path)
    if isinstance(source, os.PathLike):
        return no_such_file(path)
    if "/" in source.partition(":")[0]:
        return DataError(f"{source}: no such file; give the path of an .npz file, or of a folder or .zip of wav files.")
    return no_recipe(source)
