"""The scaling of each modality, learnt from the training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from ...errors import DataError
from ...modalities.modality import Modality
from ...modalities.transforms import TRANSFORMS, Scaling, Transform
from ..missing import mask_at_random
from .arrays import Table, chunks


def _kept_after_masking(
    table: Table, modalities: Sequence[Modality], rate: float, seed: int
) -> Mapping[str, np.ndarray]:
    """(N,) by name: where a modality is observed and `Dataset.mask_at_random` would leave it."""
    names = [m.name for m in modalities if m.role == "modality"]
    before = torch.stack([torch.from_numpy(table.observed[name]) for name in names], -1)
    after = mask_at_random(before, names, rate=rate, patterns=None, keep_one=True, seed=seed)
    return table.observed | {name: after[:, i].numpy() for i, name in enumerate(names)}


def _scaled(m: Modality, table: Table, use: np.ndarray) -> Modality:
    """`m` with what its transforms learn from the rows to use."""
    array = table.arrays[m.name]
    if m.scaling.curve.learns:
        shift, spread = _learnt(m.name, m.scaling.curve, array, use, lambda part: part)
        m = dataclasses.replace(m, shift=shift, spread=spread)
    return with_input_scaling(m, array, use, m.to_model_units)


def with_input_scaling(
    m: Modality,
    array: np.ndarray,
    use: np.ndarray,
    scored: Callable[[np.ndarray], np.ndarray] = lambda part: part,
) -> Modality:
    """`m` with what an encoder is to see of it where that is not what its likelihood scores.

    Args:
        array: (N, *shape).
        use: (N,) bool, the rows to learn from.
        scored: some rows of the array in the units of the model; as they are where it is in those.
    """
    name = m.family.input_transform
    if name is None:
        return dataclasses.replace(m, input_scaling=None)
    if not TRANSFORMS[name].learns:
        return dataclasses.replace(m, input_scaling=Scaling(name))
    learnt = _learnt(m.name, TRANSFORMS[name], array, use, lambda part: scored(part.reshape(-1, *m.shape)))
    return dataclasses.replace(m, input_scaling=Scaling(name, *learnt))


def _learnt(
    name: str, curve: Transform, array: np.ndarray, use: np.ndarray, units: Callable[[np.ndarray], np.ndarray]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per feature of the bent numbers of the rows to use (float64, two passes, no copy of
    the array); 0 and 1 where there are none."""

    def used() -> Iterator[np.ndarray]:
        return (units(array[rows][use[rows]].astype(np.float64)) for rows in chunks(array))

    def moment(power: int, centre: np.ndarray) -> np.ndarray:
        total = np.zeros(())
        for part in used():
            total = total + ((curve.bend(part) - centre) ** power).sum(0)
        return total / max(use.sum(), 1)

    with np.errstate(all="ignore"):  # what cannot be transformed is named when the values are
        mean = moment(1, np.zeros(()))
        sd = np.sqrt(moment(2, mean))
    if not np.isfinite(sd).all() and not any(curve.illegal(part)[0].any() for part in used()):
        raise DataError(f"{name!r}: values too large to be squared; rescale them.")
    # A constant feature has the rounding of its mean for a spread; dividing by that would blow up what comes later.
    sd = np.where(sd > 1e-13 * np.abs(mean), sd, 1.0)
    return tuple(mean.ravel().tolist()), tuple(sd.ravel().tolist())
