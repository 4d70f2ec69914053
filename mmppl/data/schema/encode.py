"""The door: raw arrays become modalities and tensors in model units, or a message that says what is wrong with them.

What an array is follows from its type and shape (`declare`), from the user's word, or from the schema of a run.
Missing values are filled here, once, with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...modalities.modality import Modality
from ..dataset import Dataset
from ..splits import stratifying
from .arrays import Table, chunks


def _groups(table: Table, modalities: Sequence[Modality]) -> np.ndarray:
    """(N,) codes of the label that a split is stratified by, −1 where it is missing."""
    label = stratifying([m for m in modalities if m.name in table.arrays])
    if label is None:
        return np.zeros(len(table.ids), dtype=np.int64)
    return np.where(table.observed[label.name], _codes(table, label).reshape(-1), -1)


def _filled(table: Table, modalities: Sequence[Modality], name: str, split: np.ndarray) -> Dataset:
    n = len(table.ids)
    nowhere = np.zeros(n, dtype=bool)
    return Dataset(
        name=name,
        modalities=tuple(modalities),
        values={m.name: _tensor(m, table) for m in modalities},
        observed={m.name: torch.from_numpy(table.observed.get(m.name, nowhere).copy()) for m in modalities},
        ids=table.ids,
        split=split,
        has_split=table.split is not None,
    )


def _tensor(m: Modality, table: Table) -> Tensor:
    """(N, *shape) values in model units, zeros where missing."""
    n = len(table.ids)
    if m.name not in table.arrays:
        return torch.zeros((n, *m.shape), dtype=torch.int64 if m.family.values == "classes" else torch.float32)
    observed = table.observed[m.name]
    if m.family.values == "classes":
        codes = _codes(table, m)
        return torch.from_numpy(np.where(observed.reshape(n, *[1] * len(m.shape)), codes, 0))
    array = table.arrays[m.name].reshape(n, *m.shape)
    values = np.empty(array.shape, dtype=np.float32)
    for rows in chunks(array):
        raw = array[rows].astype(np.float64)
        with np.errstate(all="ignore"):  # under the mask lies anything
            scored = m.family.as_stored(m.to_model_units(raw))
            values[rows] = scored
            wrong = [m.scaling.curve.illegal(raw), m.family.illegal(scored)]
        seen = observed[rows].reshape(-1, *[1] * len(m.shape))
        for cells, reason in (*wrong, (~np.isfinite(values[rows]), "is too large for float32; rescale it.")):
            if (cells & seen).any():
                row, column = np.argwhere((cells & seen).reshape(len(raw), -1))[0]
                table.bad(m.name, rows.start + int(row), int(column), reason)
        values[rows][~observed[rows]] = 0
    return torch.from_numpy(values)


def _codes(table: Table, m: Modality) -> np.ndarray:
    """(N, *shape) int64 places in `m.classes`; anything where missing."""
    array, classes = table.arrays[m.name].reshape(len(table.ids), *m.shape), np.asarray(m.classes)
    order = np.argsort(classes)
    codes = order[np.searchsorted(classes[order], array).clip(max=len(classes) - 1)]
    wrong = (classes[codes] != array) & table.observed[m.name].reshape(-1, *[1] * len(m.shape))
    if wrong.any():
        row, column = np.argwhere(wrong.reshape(len(array), -1))[0]
        listed = ", ".join(map(str, classes[:20])) + (", …" if len(classes) > 20 else "")
        table.bad(m.name, int(row), int(column), f"is not one of the classes {listed}; correct or mask it.")
    return codes.astype(np.int64)
