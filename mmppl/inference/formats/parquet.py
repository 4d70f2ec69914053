"""Answers as Parquet: one table in the order of the rows. `mmppl.write_blocks` writes one in parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.extras import extra
from ...base.files import replacing
from .columns import columns_of

if TYPE_CHECKING:
    from ..answer import Answer


def arrow_table(answer: Answer) -> Any:
    """Return an answer as a pyarrow Table.

    Args:
        answer: the answer.

    Returns:
        A table with the columns of `columns_of`; an array with several axes per row, such as an image, is one column of
        nested lists of fixed sizes. Ids are whole numbers or strings as they are; NaN stays NaN.

    Raises:
        UsageError: pyarrow is not installed.
    """
    with extra("table", "an Arrow table of answers"):
        import pyarrow
    return pyarrow.table({name: _column(array) for name, array in columns_of(answer, nested=True).items()})


def _column(array: np.ndarray) -> Any:
    """Return (n, *shape) values as a pyarrow array of nested lists."""
    import pyarrow

    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind in "UO":
        texts = [str(text).encode(errors="backslashreplace").decode() for text in flat.tolist()]
        column = pyarrow.array(texts, pyarrow.string())
    else:
        column = pyarrow.array(flat)
    for length in reversed(array.shape[1:]):
        column = pyarrow.FixedSizeListArray.from_arrays(column, length)
    return column


def save_parquet(answer: Answer, path: Path) -> None:
    """Write an answer as one Parquet file.

    Args:
        answer: the answer.
        path: the file to replace or to create.

    Raises:
        UsageError: pyarrow is not installed.
    """
    table = arrow_table(answer)
    import pyarrow.parquet

    texts = [field.name for field in table.schema if field.type == "string"]  # numbers hardly ever repeat
    with replacing(path) as staged:
        pyarrow.parquet.write_table(table, staged, use_dictionary=texts or False)
