"""Answers as .npz files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...base.files import write

if TYPE_CHECKING:
    from ..answer import Answer


def save_npz(answer: Answer, path: Path) -> None:
    """Write the arrays of an answer under the keys of `Answer.arrays`.

    Args:
        answer: the answer.
        path: the file to replace or to create.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **answer.arrays())  # type: ignore[arg-type]
    write(path, buffer.getvalue())
