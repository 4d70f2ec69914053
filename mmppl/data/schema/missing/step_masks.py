"""Masks of steps: `mask_<name>` (N, T) beside `<name>` (N, T, F) says which steps a row has, and so its length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....errors import DataError
from .lengths import PREFIX


def with_lengths_of_masks(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Put `length_<name>` in the place of every mask of steps.

    Args:
        arrays: name → (N, *shape), with masks.

    Returns:
        The arrays. A row without any step has the length 0, and is missing.

    Raises:
        DataError: a mask is not of true and false, a step follows a missing one, or `length_<name>` is there, too.

    Example:
        >>> steps = {"watch": np.zeros((2, 3, 4)), "mask_watch": np.array([[1, 1, 0], [1, 1, 1]])}
        >>> with_lengths_of_masks(steps)["length_watch"].tolist()
        [2, 3]
    """
    found = dict(arrays)
    for key, mask in arrays.items():
        name = key.removeprefix("mask_")
        array = arrays.get(name)
        if name == key or array is None or array.ndim != 3 or mask.ndim != 2:
            continue
        if mask.shape != array.shape[:2] or mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
            raise DataError(
                f"{key!r} is {mask.dtype} of shape {mask.shape}, and {name!r} has the shape {array.shape}; give one "
                "true or false per row, or one per step."
            )
        if PREFIX + name in arrays:
            raise DataError(
                f"{key!r} and '{PREFIX}{name}' both say which steps of {name!r} there are; give one of them."
            )
        there = mask.astype(bool)
        late = there[:, 1:] & ~there[:, :-1]
        if late.any():
            row, step = np.argwhere(late)[0]
            raise DataError(
                f"{key!r}, row {row}: step {step + 1} is there and step {step} is missing; only the end of a row may "
                "be missing: move its steps to the front."
            )
        del found[key]
        found[PREFIX + name] = there.sum(1)
    return found
