"""The scaling of each modality is learnt from the training rows here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from ...base.disk.maps import row_blocks
from ...errors import DataError
from ...modalities.modality import Modality
from ...modalities.scaling import Scaling
from ...modalities.transforms import TRANSFORMS, Transform
from ..missing import mask_at_random
from .arrays import Table


def observed_after_masking(
    table: Table, modalities: Sequence[Modality], rate: float, seed: int
) -> Mapping[str, np.ndarray]:
    """Apply the mask of `Dataset.mask_at_random` to a table, so that masked values do not influence the scaling.

    Args:
        table: the parsed arrays.
        modalities: their schema.
        rate: the share of the modalities to mask.
        seed: the seed of the mask.

    Returns:
        name → (N,) bool, True where a modality is observed and not masked.
    """
    names = [m.name for m in modalities if m.role == "modality"]
    before = torch.stack([torch.from_numpy(table.observed[name]) for name in names], -1)
    after = mask_at_random(before, names, rate=rate, patterns=None, keep_one=True, seed=seed)
    return table.observed | {name: after[:, i].numpy() for i, name in enumerate(names)}


def learn_scaling(m: Modality, table: Table, use: np.ndarray) -> Modality:
    """Learn the scaling of a modality.

    Args:
        m: the modality.
        table: the parsed arrays.
        use: (N,) bool, the rows to learn from.

    Returns:
        The modality with what its transforms learn from these rows.
    """
    array, there = table.arrays[m.name], table.present.get(m.name)
    if m.scaling.curve.learns:
        shift, spread = _mean_and_spread(m, m.scaling.curve, array, use, there, lambda part: part)
        m = dataclasses.replace(m, shift=shift, spread=spread)
    return with_input_scaling(m, array, use, there, m.to_model_units)


def with_input_scaling(
    m: Modality,
    array: np.ndarray,
    use: np.ndarray,
    there: np.ndarray | None,
    scored: Callable[[np.ndarray], np.ndarray] = lambda part: part,
) -> Modality:
    """Learn the scaling of an encoder's input, for a modality whose encoder sees something else than its likelihood
    scores.

    Args:
        m: the modality.
        array: (N, *shape).
        use: (N,) bool, the rows to learn from.
        there: bool, broadcastable to (N, *shape), the elements that exist; None: all.
        scored: brings rows of the array into model units; by default they are in model units already.

    Returns:
        The modality with its `input_scaling`, or with None if its likelihood scores what the encoder sees.
    """
    name = m.family.input_transform
    if name is None:
        return dataclasses.replace(m, input_scaling=None)
    if not TRANSFORMS[name].learns:
        return dataclasses.replace(m, input_scaling=Scaling(name))

    def units(part: np.ndarray) -> np.ndarray:
        return scored(part.reshape(-1, *m.shape))

    learnt = _mean_and_spread(m, TRANSFORMS[name], array, use, there, units)
    return dataclasses.replace(m, input_scaling=Scaling(name, *learnt))


def _mean_and_spread(
    m: Modality,
    curve: Transform,
    array: np.ndarray,
    use: np.ndarray,
    there: np.ndarray | None,
    units: Callable[[np.ndarray], np.ndarray],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per feature of the transformed numbers of the rows to use (float64, two passes, no
    copy of the array); 0 and 1 where there are none. The steps of a sequence share those of each of its features."""
    over = (0, 1) if m.sequence else 0

    def used() -> Iterator[np.ndarray]:
        return (units(array[rows][use[rows]].astype(np.float64)) for rows in row_blocks(array))

    def moment(power: int, centre: np.ndarray) -> np.ndarray:
        if there is not None:
            return moment_of_elements(power, centre, there)
        total = np.zeros(())
        for part in used():
            total = total + ((curve.bend(part) - centre) ** power).sum(over)
        return total / max(use.sum() * (m.shape[0] if m.sequence else 1), 1)

    def moment_of_elements(power: int, centre: np.ndarray, there: np.ndarray) -> np.ndarray:
        total, count = np.zeros(()), np.zeros((), dtype=np.int64)
        for rows, part in zip(row_blocks(array), used()):
            counts = np.broadcast_to(there[rows][use[rows]], part.shape)
            total = total + np.where(counts, (curve.bend(part) - centre) ** power, 0.0).sum(over)
            count = count + counts.sum(over)
        return total / np.maximum(count, 1)

    with np.errstate(all="ignore"):  # `encode` reports values that cannot be transformed
        mean = moment(1, np.zeros(()))
        sd = np.sqrt(moment(2, mean))
    if not np.isfinite(sd).all() and not any(curve.illegal(part)[0].any() for part in used()):
        raise DataError(f"{m.name!r}: values too large to be squared; rescale them.")
    # The spread of a constant feature is the rounding error of its mean; dividing by it would blow up later values.
    sd = np.where(sd > 1e-13 * np.abs(mean), sd, 1.0)
    if m.sequence:
        mean, sd = np.tile(mean, m.shape[0]), np.tile(sd, m.shape[0])
    return tuple(mean.ravel().tolist()), tuple(sd.ravel().tolist())
