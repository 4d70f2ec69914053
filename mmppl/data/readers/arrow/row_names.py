"""The names of rows that pandas writes into the metadata of a table, its index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Index:
    """The index of a DataFrame that was written into a file.

    Args:
        columns: the columns that hold it, which are no data.
        start: where it is numbers at equal steps and no column: the first of them.
        step: the step between them.
    """

    columns: tuple[str, ...] = ()
    start: int = 0
    step: int = 1


def index_of(metadata: Mapping[bytes, bytes] | None, names: Sequence[str]) -> Index:
    """Read what pandas says about the index of a table.

    Args:
        metadata: the metadata of its schema.
        names: the names of its columns.

    Returns:
        The index; row numbers where pandas says nothing that can be understood.
    """
    found = _written(metadata).get("index_columns")
    if not isinstance(found, list):
        return Index()
    if len(found) == 1 and isinstance(found[0], dict):
        start, step = found[0].get("start"), found[0].get("step")
        return Index((), start, step) if isinstance(start, int) and isinstance(step, int) else Index()
    return Index(tuple(name for name in found if isinstance(name, str) and name in names))


def columns_in_levels(metadata: Mapping[bytes, bytes] | None) -> bool:
    """Say whether the columns of the DataFrame had two levels: pandas writes their names as texts of pairs."""
    levels = _written(metadata).get("column_indexes")
    return isinstance(levels, list) and len(levels) == 2


def _written(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    try:
        found = json.loads((metadata or {}).get(b"pandas", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
