"""The scaling of each modality, learnt from the training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ...errors import DataError
from ...modalities.modality import Modality
from ..missing import mask_at_random
from .arrays import Table, chunks


def _kept_after_masking(
    table: Table, modalities: Sequence[Modality], rate: float, seed: int
) -> Mapping[str, np.ndarray]:
    """(N,) by name: where a modality is observed and `Dataset.hide` would leave it."""
    names = [m.name for m in modalities if m.role == "modality"]
    before = torch.stack([torch.from_numpy(table.observed[name]) for name in names], -1)
    after = mask_at_random(before, names, rate=rate, patterns=None, keep_one=True, seed=seed)
    return table.observed | {name: after[:, i].numpy() for i, name in enumerate(names)}


def _scaled(m: Modality, table: Table, use: np.ndarray) -> Modality:
    """`m` with mean and standard deviation of the rows to use (float64, two passes, no copy of the array); 0 and 1
    where there are none."""
    if m.transform not in ("standardise", "log1p"):
        return m
    array = table.arrays[m.name]

    def moment(power: int, centre: np.ndarray) -> np.ndarray:
        total = np.zeros(array.shape[1:])
        for rows in chunks(array):
            part = array[rows][use[rows]].astype(np.float64)
            total += (((np.log1p(part) if m.transform == "log1p" else part) - centre) ** power).sum(0)
        return total / max(use.sum(), 1)

    with np.errstate(all="ignore"):  # what cannot be transformed is named when the values are
        mean = moment(1, np.zeros(()))
        sd = np.sqrt(moment(2, mean))
    if m.transform == "standardise" and not np.isfinite(sd).all():
        raise DataError(f"{m.name!r}: values too large to be squared; rescale them.")
    # A constant feature has the rounding of its mean for a spread; dividing by that would blow up what comes later.
    sd = np.where(sd > 1e-13 * np.abs(mean), sd, 1.0)
    return dataclasses.replace(m, shift=tuple(mean.ravel().tolist()), spread=tuple(sd.ravel().tolist()))
