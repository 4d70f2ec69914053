"""What AnnData and MuData say of rows (`obs`), as arrays: one column each, under names that modalities may have."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....errors import DataError
from ...splits import PART_OF
from ..cells import plain_array
from ..tables.ordered import one_order
from .table import Column

OURS = ("id", "split")  # arrays that have a meaning of their own
SIGNS = ".,:;+=/*"  # that names of modalities do not have


@dataclass(frozen=True)
class Observations:
    """The columns of one `obs`.

    Args:
        owner: the name of the modality that it belongs to; "" of MuData's own.
        at: (m,) the places of its rows among all rows.
        columns: name → the column, of (m,) values; None of what has no numbers or texts.
    """

    owner: str
    at: np.ndarray
    columns: Mapping[str, Column | None]


def plain_name(name: str) -> str:
    """Return a name without the signs that names of modalities do not have.

    Example:
        >>> plain_name("cell type"), plain_name("leiden_0.5")
        ('cell_type', 'leiden_0_5')
    """
    return "".join("_" if sign in SIGNS or sign.isspace() else sign for sign in name)


def columns_of(
    observations: Sequence[Observations], n: int, taken: Collection[str], place: str
) -> tuple[dict[str, np.ndarray], list[str], list[str], dict[str, tuple[str | int, ...]]]:
    """Bring the columns of several `obs` to all rows.

    A column keeps its own name. Columns of one name that agree wherever both have a value are one column; where they do
    not, each has the name of its modality in front. What MuData copies from its modalities (`rna:batch`) is left to
    them.

    Args:
        observations: the tables, MuData's own first.
        n: how many rows there are.
        taken: the names of the modalities.
        place: the file, for messages.

    Returns:
        Name → (n,) values, with `mask_<name>` where a row of texts or whole numbers lacks it, and NaN where one of
        floats does; the names of the columns; notes about other names and columns that are left out; and name → the
        classes of an ordered column in their order.

    Raises:
        DataError: two columns would have the same name, or one has another length than its table.
    """
    notes: list[str] = []
    levels: dict[str, tuple[str | int, ...]] = {}
    found: dict[str, list[tuple[str, Column]]] = {}  # name → the owner and the column, of each
    left_out: list[str] = []
    owned = {f"{one.owner}:{name}" for one in observations if one.owner for name in one.columns}
    for one in observations:
        for name, column in one.columns.items():
            if not one.owner and name in owned:
                continue
            placed = _placed(f"{place}: {name!r} of obs", column, one.at, n)
            if placed is None:
                left_out.append(name)
            else:
                found.setdefault(name, []).append((one.owner, placed))
    arrays: dict[str, np.ndarray] = {}
    names: list[str] = []
    for name, columns in found.items():
        joined = _joined([column for _, column in columns])
        several = [(name, joined)] if joined else [(f"{o}_{name}" if o else name, column) for o, column in columns]
        for original, (values, missing, order) in several:
            called = _called(original, values, missing, taken)
            if called in arrays:
                raise DataError(f"{place}: two columns of obs would be called {called!r}; rename one of them.")
            if called != name:
                notes.append(f"{name!r} of obs is called {called} here")
            floats = values.dtype.kind == "f"
            arrays[called] = np.where(missing, np.nan, values) if floats else values
            if missing.any() and not floats:
                arrays[f"mask_{called}"] = ~missing
            if order is not None:
                levels[called] = order
            if called not in OURS:
                names.append(called)
    if left_out:
        notes.append(f"left out of obs, as no column of numbers or texts: {', '.join(dict.fromkeys(left_out))}")
    return arrays, names, notes, levels


def _placed(place: str, column: Column | None, at: np.ndarray, n: int) -> Column | None:
    """Bring a column to n rows. None: it is empty, or holds dates, objects or the like."""
    if column is None or column[1].all():
        return None
    values, missing, levels = column
    if values.shape != at.shape or missing.shape != at.shape:
        raise DataError(f"{place} has shape {values.shape}, and there are {len(at):,} rows; write it again.")
    try:
        values = plain_array(place, values)
    except DataError:
        return None
    if len(at) == n and np.array_equal(at, np.arange(n)):
        return Column(values, missing, levels)
    filler = np.nan if values.dtype.kind == "f" else values[~missing][0]
    placed, gaps = np.full(n, filler, values.dtype), np.ones(n, bool)
    placed[at], gaps[at] = values, missing
    return Column(placed, gaps, levels)


def _joined(columns: Sequence[Column]) -> Column | None:
    """Join columns that agree wherever several have a value; None where they do not."""
    values, missing, _ = columns[0]
    for more, gaps, _ in columns[1:]:
        if (more.dtype.kind in "U") != (values.dtype.kind in "U"):
            return None
        both = ~missing & ~gaps
        if (values[both] != more[both]).any():
            return None
        values, missing = np.where(missing, more, values), missing & gaps
    orders = [column.levels for column in columns]
    levels = None if None in orders else one_order([order for order in orders if order is not None])
    return Column(values, missing, levels)


def _called(name: str, values: np.ndarray, missing: np.ndarray, taken: Collection[str]) -> str:
    """Return the name of a column among the arrays: without signs that are not allowed, and with `obs_` in front where
    its name means something else."""
    called = plain_name(name)
    splits = values.dtype.kind == "U" and not missing.any() and bool(np.isin(values, [*PART_OF]).all())
    ours = called in OURS and not (called == "split" and splits)
    return f"obs_{called}" if ours or called in taken or called.startswith(("mask_", "length_")) else called
