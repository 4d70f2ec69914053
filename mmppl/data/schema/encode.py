"""Raw arrays become tensors in model units, or an error says which value is wrong. Missing values become zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...base.disk.maps import empty_like, row_blocks
from ...modalities.modality import Modality
from ..dataset import Dataset
from ..source import SourceValues
from ..splits import combined, stratifying
from .arrays import Table


def stratification_groups(table: Table, modalities: Sequence[Modality]) -> np.ndarray:
    """Return the strata that a split respects, as `strata_of` has them of a data set.

    Args:
        table: the parsed arrays.
        modalities: their schema.

    Returns:
        (N,) int64 codes.
    """
    columns = []
    for m in stratifying([m for m in modalities if m.name in table.arrays]):
        values = _codes(table, m, 0) if m.classes else table.arrays[m.name]
        with np.errstate(invalid="ignore"):  # masked values may be anything
            columns.append(np.where(table.observed[m.name][:, None], values.reshape(len(table.ids), -1), -1))
    return combined(columns, len(table.ids))


def encode_table(
    table: Table,
    modalities: Sequence[Modality],
    name: str,
    split: np.ndarray,
    annotations: Mapping[str, np.ndarray] = {},
    notes: Sequence[str] = (),
) -> Dataset:
    """Make a data set of parsed arrays.

    Args:
        table: the parsed arrays.
        modalities: their schema, with scaling; a modality without an array is missing in every row.
        name: the name of the data set.
        split: (N,) int8 codes of the parts.
        annotations: name → (N,); see `Dataset`.
        notes: see `Dataset`.

    Returns:
        The data set, in model units and with zeros where values are missing.

    Raises:
        DataError: an observed value is illegal for its transform or likelihood, is no known class, or is too large.
    """
    n = len(table.ids)
    nowhere = np.zeros(n, dtype=bool)
    return Dataset(
        name=name,
        modalities=tuple(modalities),
        values={m.name: _tensor(m, table) for m in modalities},
        observed={m.name: torch.from_numpy(table.observed.get(m.name, nowhere).copy()) for m in modalities},
        present={
            m.name: torch.from_numpy(_elements(m, table)) for m in modalities if m.sequence or m.name in table.present
        },
        ids=table.ids,
        split=split,
        has_split=table.split is not None,
        drawn_valid=table.split is None or not (table.split == 1).any(),
        annotations=dict(annotations),
        notes=(*notes, *table.notes),
        source=SourceValues.small(
            {
                m.name: table.arrays[m.name].reshape(n, *m.shape)
                for m in modalities
                if m.name in table.arrays and m.family.values != "classes"
            }
        ),
    )


def _elements(m: Modality, table: Table) -> np.ndarray:
    """(N, T, 1) bool, the steps of a sequence that exist, or (N, *shape), the cells that rows have."""
    if m.name in table.present:
        there = table.present[m.name]
        return (there if m.sequence else there.reshape(len(there), *m.shape)).copy()
    rows = table.observed.get(m.name, np.zeros(len(table.ids), dtype=bool))  # without lengths a row has all steps
    return np.repeat(rows[:, None, None], m.shape[0], 1)


def _tensor(m: Modality, table: Table) -> Tensor:
    """Return (N, *shape) values in model units, with zeros where they are missing."""
    n = len(table.ids)
    if m.name not in table.arrays:
        return torch.zeros((n, *m.shape), dtype=torch.int64 if m.family.values == "classes" else torch.float32)
    if m.family.values == "classes":
        return torch.from_numpy(_codes(table, m, 0))
    array = table.arrays[m.name].reshape(n, *m.shape)
    values = empty_like(array, array.shape, np.float32)
    for rows in row_blocks(array):
        raw = array[rows].astype(np.float64)
        with np.errstate(all="ignore"):  # masked values may be anything
            scored = m.family.as_stored(m.to_model_units(raw))
            values[rows] = scored
            wrong = [m.scaling.curve.illegal(raw), m.family.illegal(scored)]
        seen = _there(m, table, rows)
        for cells, reason in (*wrong, (~np.isfinite(values[rows]), "is too large for float32; rescale it.")):
            if (cells & seen).any():
                row, column = np.argwhere((cells & seen).reshape(len(raw), -1))[0]
                table.bad(m.name, rows.start + int(row), int(column), reason)
        if not seen.all():
            np.copyto(values[rows], 0, where=~seen)
    return torch.from_numpy(values)


def _there(m: Modality, table: Table, rows: slice) -> np.ndarray:
    """The elements that are observed: bool, broadcastable to (n, *shape), also where the array has another shape."""
    there = table.there(m.name, rows)
    if m.name in table.present:
        return there if m.sequence else there.reshape(len(there), *m.shape)
    return there if there.ndim == 1 + len(m.shape) else there.reshape(-1, *[1] * len(m.shape))


def _codes(table: Table, m: Modality, missing: int) -> np.ndarray:
    """Return (N, *shape) int64 positions in `m.classes`, and `missing` where the class is missing."""
    array, classes = table.arrays[m.name].reshape(len(table.ids), *m.shape), np.asarray(m.classes)
    order = np.argsort(classes)
    codes = empty_like(array, array.shape, np.int64)
    for rows in row_blocks(array):
        part, there = array[rows], _there(m, table, rows)
        found = order[np.searchsorted(classes[order], part).clip(max=len(classes) - 1)]
        wrong = (classes[found] != part) & there
        if wrong.any():
            row, column = np.argwhere(wrong.reshape(len(part), -1))[0]
            listed = ", ".join(map(str, classes[:20])) + (", …" if len(classes) > 20 else "")
            why = f"is not one of the classes {listed}; correct or mask it."
            table.bad(m.name, rows.start + int(row), int(column), why)
        codes[rows] = np.where(there, found, missing)
    return codes
