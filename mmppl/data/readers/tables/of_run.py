"""Columns of a frame that a run knows as numbers: a text among them stops only questions about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import DataError
from ....modalities.modality import Modality
from ...examine.finding import Finding
from ...examine.report import TOLD, UNSEEN
from ...schema.grouping.column_names import owners
from ..registry import Request
from .column import cells_of


def numbers_of_run(columns: Sequence[str], request: Request) -> Mapping[str, Modality]:
    """Say which columns belong to a modality of numbers.

    Args:
        columns: the names of the columns.
        request: what the caller of `mmppl.read` asks for.

    Returns:
        Column → the modality of the run; nothing without a run.
    """
    if request.schema is None:
        return {}
    of = {m.name: m for m in request.schema if not (m.classes and isinstance(m.classes[0], str))}
    owner = owners(columns, request.as_, request.schema)
    found = {column: of[name] for column in columns if (name := owner.get(column, column)) in of}
    grouped = {f"{m.group}:{feature}": m for m in of.values() if m.group for feature in m.features or ()}
    return found | {column: grouped[column] for column in columns if column in grouped}


def numbers_of(column: str, series: Any, m: Modality) -> tuple[tuple[np.ndarray, np.ndarray], list[Finding]]:
    """Return the cells of a column of numbers.

    Args:
        column: its name.
        series: the column.
        m: the modality of the run that it belongs to.

    Returns:
        The values and which of them are missing, as `cells_of` returns them; and a finding of the kind `UNSEEN`, or
        `TOLD` where encoders of the run see gaps, if there are texts that are no numbers, and none of the words that
        the run takes for missing.

    Raises:
        DataError: see `cells_of`; texts among numbers raise nothing.
    """
    try:
        found = cells_of(column, series)
    except DataError:
        cells = np.asarray(series.to_numpy())
        if cells.dtype != object or not any(isinstance(cell, str) for cell in cells):
            raise
    else:
        if found[0].dtype.kind != "U":
            return found, []
        cells = found[0].astype(object)
        cells[found[1]] = None
    values, rows = np.full(len(cells), np.nan), []
    for row, cell in enumerate(cells):
        values[row] = _number(cell)
        if isinstance(cell, str) and np.isnan(values[row]) and cell not in (m.missing or ()):
            rows.append((row, f"{column!r}, row {row}: {cell[:60]!r}"))
    if not rows:
        return (values, np.isnan(values)), []
    text = f"{rows[0][1]} is no number; taken for missing in {len(rows):,} such row{'s' * (len(rows) > 1)}."
    return (values, np.isnan(values)), [Finding(TOLD if m.gaps else UNSEEN, m.name, text, rows=tuple(rows))]


def _number(cell: Any) -> float:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        return np.nan
    return number if np.isfinite(number) else np.nan
