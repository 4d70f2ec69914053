"""Answers as .csv files."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from ...base.files import write
from .columns import columns_of

if TYPE_CHECKING:
    from ..answer import Answer


def save_csv(answer: Answer, path: Path) -> None:
    """Write the columns of an answer, the names in the first line.

    Args:
        answer: the answer.
        path: the file to replace or to create.
    """
    text = io.StringIO()
    columns = columns_of(answer)
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(zip(*(column.tolist() for column in columns.values())))
    write(path, text.getvalue().encode(errors="backslashreplace"))  # numpy holds text that is no Unicode
