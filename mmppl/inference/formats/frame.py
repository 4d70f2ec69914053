"""Answers as DataFrames of pandas or polars, or as tables of Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...base.choices import choice
from ...base.extras import extra
from .columns import columns_of
from .parquet import arrow_table

if TYPE_CHECKING:
    from ..answer import Answer

BACKENDS = ("pandas", "polars", "pyarrow")


def frame_of(answer: Answer, backend: str) -> Any:
    """Return an answer as a table, one row for each of its rows, in their order.

    Args:
        answer: the answer.
        backend: "pandas", whose index are the ids and whose columns are those of a .csv file; "polars" or "pyarrow",
            with a column `id` and with images in one column each, as in a .parquet file.

    Returns:
        A DataFrame, or a pyarrow Table.

    Raises:
        UsageError: the backend is unknown or not installed.
    """
    choice("answer.to_frame: backend", backend, BACKENDS)
    if backend == "pyarrow":
        return arrow_table(answer)
    columns = columns_of(answer, nested=backend == "polars")
    if backend == "polars":
        with extra("polars", "answer.to_frame"):
            import polars
        return polars.DataFrame(columns)
    with extra("pandas", "answer.to_frame"):
        import pandas
    index = pandas.Index(columns.pop("id"), name="id")
    return pandas.DataFrame(columns, index=index, copy=False)
