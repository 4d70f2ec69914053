"""Arrays are looked at some rows at a time."""

from __future__ import annotations

import numpy as np


def chunks(array: np.ndarray) -> list[slice]:
    """Cut an array into slices of rows with about four million elements each, so that no pass needs a copy of a huge
    array.

    Args:
        array: (N, *shape).

    Returns:
        Slices of the first axis, in order.
    """
    step = max(1, 2**22 // max(1, array.size // max(1, len(array))))
    return [slice(start, start + step) for start in range(0, len(array), step)]
