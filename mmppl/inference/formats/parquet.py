"""Answers as Parquet: one table in the order of the rows, at once or in parts."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

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


class ParquetWriter:
    """A Parquet file of answers, written in parts, each of which becomes a group of rows.

    The file takes its name when the block ends, whole and flushed to the disk; until then, and where the block fails,
    what was there under that name stays. No more than one part is held in memory.

    Args:
        path: the file to replace or to create.

    Raises:
        UsageError: pyarrow is not installed.

    Example:
        >>> import mmppl, numpy as np, tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "answers.parquet"
        >>> with ParquetWriter(file) as out:
        ...     for ids in (np.array([0, 1]), np.array([2, 3])):
        ...         out.write(mmppl.Answer("model", None, ids, {"z": {"mean": np.zeros((2, 5))}}))
        >>> out.rows
        4
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.rows = Path(path), 0
        with extra("table", f"{self.path}: writing Parquet"):
            import pyarrow.parquet
        self._parquet = pyarrow.parquet
        self._stack = ExitStack()
        self._staged: Path | None = None
        self._file: Any = None

    def __enter__(self) -> Self:
        self._staged = self._stack.enter_context(replacing(self.path))
        return self

    def write(self, answer: Answer) -> None:
        """Append the rows of an answer.

        Args:
            answer: the next rows; it has the same columns as those before it.

        Raises:
            ValueError: it has other columns or types, or the block has not begun or is over.
        """
        if self._staged is None:
            raise ValueError("ParquetWriter: write inside its block: with ParquetWriter(path) as out: out.write(...).")
        table = arrow_table(answer)
        if self._file is None:
            texts = [field.name for field in table.schema if field.type == "string"]  # numbers hardly ever repeat
            self._file = self._stack.enter_context(
                self._parquet.ParquetWriter(self._staged, table.schema, use_dictionary=texts or False)
            )
        if table.schema != self._file.schema:
            raise ValueError(f"{self.path}: answers with other columns than those before; write them to another file.")
        self._file.write_table(table)
        self.rows += table.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._staged = None
        if error is None and self._file is None:
            empty = ValueError(f"{self.path}: no answer was written.")
            self._stack.__exit__(ValueError, empty, None)
            raise empty
        self._stack.__exit__(kind, error, trace)


def save_parquet(answer: Answer, path: Path) -> None:
    """Write an answer as one Parquet file.

    Args:
        answer: the answer.
        path: the file to replace or to create.

    Raises:
        UsageError: pyarrow is not installed.
    """
    with ParquetWriter(path) as out:
        out.write(answer)
