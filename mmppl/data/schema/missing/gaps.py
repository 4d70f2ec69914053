"""Gaps: single cells that rows lack, where a row has others of the same modality."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ....base.disk.maps import row_blocks
from ....errors import DataError
from ....modalities.modality import Modality
from ...examine.finding import Finding
from ...examine.report import TOLD
from ...missing import hidden_cells

if TYPE_CHECKING:
    from ..arrays import Table

SUFFIX = "_observed"


def with_observed(
    arrays: Mapping[str, np.ndarray], overridden: Collection[str], schema: Sequence[Modality] | None
) -> dict[str, np.ndarray]:
    """Take bools `<name>_observed` beside an array for its mask.

    Args:
        arrays: name → (N, *shape).
        overridden: names of arrays of which the user says what they are (`--as`).
        schema: the modalities of a run; what is one of them is no mask.

    Returns:
        The arrays, with `mask_<name>` in place of `<name>_observed` of the shape (N,) or that of its array.

    Raises:
        DataError: an array has both.

    Example:
        >>> lab, seen = np.zeros((2, 3)), np.ones((2, 3), dtype=bool)
        >>> list(with_observed({"lab": lab, "lab_observed": seen}, [], None))
        ['lab', 'mask_lab']
    """
    known = {m.name for m in schema or ()}
    renamed: dict[str, str] = {}
    for key, array in arrays.items():
        name = key.removesuffix(SUFFIX)
        is_mask = name != key and name in arrays and array.dtype.kind == "b" and key not in {*overridden, *known}
        if is_mask and array.shape in (arrays[name].shape, arrays[name].shape[:1]):
            if f"mask_{name}" in arrays:
                raise DataError(f"{name!r} has two masks, 'mask_{name}' and {key!r}; leave one of them out.")
            renamed[key] = f"mask_{name}"
    return {renamed.get(key, key): array for key, array in arrays.items()}


def cells_of_mask(name: str, mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Check a mask.

    Args:
        name: the name of its array.
        mask: (N,), or `shape`, of 0 and 1.
        shape: (N, *shape) of the array; (N,) of one that lacks whole rows only.

    Returns:
        Bool, (N,) or `shape`.

    Raises:
        DataError: it has another shape, or other values.
    """
    if mask.shape not in (shape[:1], shape) or mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        of_cells = "" if len(shape) == 1 else f", or per cell, shape {shape}"
        raise DataError(
            f"'mask_{name}' is {mask.dtype} of shape {mask.shape}; give one true or false per row{of_cells}."
        )
    return mask.astype(bool)


def present_cells(table: Table, name: str, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Find which rows and cells of an array are there: what is not masked, and not NaN.

    Args:
        table: the table that holds the array.
        name: the name of the array, (N, *shape).
        mask: (N,) or (N, *shape) bool; None: nothing is masked.

    Returns:
        (N,) bool, the rows that have any cell; (N, *shape) bool, the cells that rows have, or None if every row that
        has any has all; and whether NaN marks any of what is missing.

    Raises:
        DataError: a cell that is not masked is infinite; the message names it.
    """
    array = table.arrays[name]
    rows: np.ndarray = np.ones(len(array), dtype=bool)
    cells: np.ndarray | None = None
    if mask is not None:
        rows = np.logical_or.reduce(mask.reshape(len(array), -1), 1)
        cells = mask if mask.shape == array.shape and not (mask.reshape(len(array), -1).all(1) == rows).all() else None
    found = False
    for part in row_blocks(array) if array.dtype.kind == "f" else []:
        flat = array[part].reshape(len(rows[part]), -1)
        bad = ~np.isfinite(flat) & rows[part, None]
        if cells is not None:
            bad &= cells[part].reshape(flat.shape)
        if not bad.any():
            continue
        empty = bad & np.isnan(flat)
        if (bad & ~empty).any():
            row, column = np.argwhere(bad & ~empty)[0]
            table.bad(name, part.start + int(row), int(column), "is in an observed row; correct it, or mask the row.")
        found = True
        there = ~empty & (rows[part, None] if cells is None else cells[part].reshape(flat.shape))
        if cells is None and not (there.any(1) == there.all(1)).all():
            cells = np.repeat(rows, array[0].size).reshape(array.shape)
        if cells is not None:
            cells[part] = there.reshape(cells[part].shape)
        rows[part] &= there.any(1)
    return rows, cells, found


def refuse_uncellular(modalities: Sequence[Modality], table: Table) -> None:
    """Refuse gaps in a modality whose likelihood scores whole rows only.

    Args:
        modalities: the schema.
        table: the parsed arrays.

    Raises:
        DataError: there is one; the message names it.
    """
    for m in modalities:
        if m.family.elements or m.sequence or m.name not in table.present:
            continue
        if count := int((table.observed[m.name] & ~_whole(table.present[m.name])).sum()):
            raise DataError(
                f"{m.name}: {count:,} rows lack some of its cells, and {m.likelihood} scores whole rows only; fill "
                f"them, mask these rows (mask_{m.name}), or choose --as {m.name}=normal."
            )


def with_gaps(modalities: Sequence[Modality], table: Table, split: np.ndarray) -> tuple[Modality, ...]:
    """Say of each modality whether training rows lack single cells of it.

    Args:
        modalities: the schema.
        table: the parsed arrays.
        split: (N,) codes of the parts.

    Returns:
        The modalities with `gaps`.

    Raises:
        DataError: the likelihood of one scores whole rows only.
    """
    refuse_uncellular(modalities, table)
    found = []
    for m in modalities:
        there = None if m.sequence else table.present.get(m.name)
        train = table.observed[m.name] & (split == 0)
        found.append(dataclasses.replace(m, gaps=there is not None and not bool(there[train].all())))
    return tuple(found)


def without_cells(
    table: Table, modalities: Sequence[Modality], rate: float, seed: int
) -> tuple[Table, tuple[Modality, ...]]:
    """Hide single cells, so that they influence neither scaling nor schema.

    Args:
        table: the parsed arrays.
        modalities: their schema.
        rate: the share of the cells to hide.
        seed: the seed.

    Returns:
        The table without them, and the schema, whose modalities with hidden cells have gaps.
    """
    observed = {name: torch.from_numpy(there) for name, there in table.observed.items()}
    present = {name: torch.from_numpy(there) for name, there in table.present.items()}
    left = {name: there.numpy() for name, there in hidden_cells(modalities, observed, present, rate, seed).items()}
    after = tuple(dataclasses.replace(m, gaps=m.gaps or m.name in left) for m in modalities)
    shaped = {name: there.reshape(table.arrays[name].shape) for name, there in left.items()}
    return dataclasses.replace(table, present=table.present | shaped), after


def told_of_gaps(table: Table, schema: Sequence[Modality]) -> list[Finding]:
    """Tell of modalities with gaps in data of a run that had none in them when it was fitted.

    Args:
        table: the parsed arrays, in the run's order.
        schema: the modalities of the run.

    Returns:
        A finding for each.
    """
    refuse_uncellular(schema, table)
    told = []
    for m in schema:
        there = None if m.gaps or m.sequence else table.present.get(m.name)
        rows = table.observed[m.name] & ~_whole(there) if there is not None else np.zeros(0, dtype=bool)
        if there is not None and rows.any():
            filler = "0" if m.scaling.shift is None and m.input_scaling is None else "the training mean"
            cells, count = int((~there[rows]).sum()), int(rows.sum())
            told.append(
                Finding(
                    TOLD, m.name,
                    f"{m.name}: {cells:,} cells are missing in {count:,} rows, and no training row of the run lacked "
                    f"any: encoders see {filler} there; fit anew with gaps for better answers.",
                )
            )  # fmt: skip
    return told


def _whole(there: np.ndarray) -> np.ndarray:
    """(N,) bool, the rows that have every cell."""
    found: np.ndarray = np.logical_and.reduce(there.reshape(len(there), -1), 1)
    return found
