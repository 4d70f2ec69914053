"""Sequences: arrays of rows with fewer steps than the longest, whose lengths come as `length_<name>`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import DataError
from ....modalities.modality import Modality
from ...examine.finding import Finding
from ...examine.report import TOLD

PREFIX = "length_"


def sequences_in(
    arrays: Mapping[str, np.ndarray], overridden: Collection[str], schema: Sequence[Modality] | None
) -> dict[str, int | None]:
    """Find the arrays that are sequences.

    Args:
        arrays: name → (N, *shape).
        overridden: names of arrays of which the user says what they are (`--as`): of a `length_<name>` among them it is
            a modality of its own.
        schema: the modalities of a run; None: an array is a sequence where its lengths come with it.

    Returns:
        name → T, the steps that a row has at most, or None: as many as the array has.
    """
    if schema is not None:
        return {m.name: m.shape[0] for m in schema if m.sequence and m.name in arrays}
    names = [name.removeprefix(PREFIX) for name in arrays if name.startswith(PREFIX) and name not in overridden]
    return {name: None for name in names if name in arrays and arrays[name].ndim in (2, 3)}


def without_lengths(arrays: Mapping[str, Any]) -> list[Finding]:
    """Tell that arrays which a run knows as sequences came without lengths.

    Args:
        arrays: name → (N, S, F) or (N, S), those that did.

    Returns:
        A finding for each.
    """
    return [
        Finding(TOLD, name, f"{name}: no {PREFIX}{name}, so every row has all {(*array.shape, 1)[1]} steps.")
        for name, array in arrays.items()
    ]


def padded(
    name: str, array: np.ndarray, lengths: np.ndarray | None, observed: np.ndarray, steps: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Bring a sequence to one shape and blank what lies beyond the length of each row, whatever it is.

    Args:
        name: the name of the array.
        array: (N, S, F), or (N, S) for one feature per step.
        lengths: (N,) whole numbers from 0 to S; None: every row has all S steps.
        observed: (N,) bool; the lengths of the other rows do not matter.
        steps: T, which a row may have at most; None: S.

    Returns:
        (N, T, F) values, which are 0, "" or False beyond the length; and (N, T, 1) bool, the steps that exist, none in
        rows that are not observed.

    Raises:
        DataError: the array has another number of dimensions, or a length is wrong; the message names the row.
    """
    if array.ndim not in (2, 3):
        raise DataError(f"{name!r} has shape {array.shape}; a sequence is (rows, steps, features), or (rows, steps).")
    array = array[..., None] if array.ndim == 2 else array
    counted = np.full(len(array), array.shape[1]) if lengths is None else lengths
    most = array.shape[1] if steps is None else min(steps, array.shape[1])
    if counted.ndim != 1 or counted.dtype.kind not in "iuf":
        raise DataError(
            f"'{PREFIX}{name}' is {counted.dtype} of shape {counted.shape}; give one whole number per row, or say that "
            f"it is no length (--as {PREFIX}{name}=normal)."
        )
    with np.errstate(invalid="ignore"):
        wrong = observed & ~((counted >= 0) & (counted <= array.shape[1]) & (np.mod(counted, 1) == 0))
        longer = observed & (counted > most)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"'{PREFIX}{name}', row {row}: {counted[row].item()!r} is no length, a whole number from 0 to the "
            f"{array.shape[1]} steps of {name!r}; correct it."
        )
    if longer.any():
        row = int(longer.argmax())
        raise DataError(
            f"{name!r}, row {row} has {int(counted[row])} steps, and the run knows {steps} at most; cut it or fit anew."
        )
    length = np.where(observed, counted, 0).astype(np.int64)
    total = array.shape[1] if steps is None else steps
    there = np.arange(total) < length[:, None]
    values = np.zeros((len(array), total, array.shape[2]), array.dtype)
    values[:, :most] = np.where(there[:, :most, None], array[:, :most], np.zeros((), array.dtype))
    return values, there[..., None]
