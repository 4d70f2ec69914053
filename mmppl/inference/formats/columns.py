"""An answer as columns, under the names that all tables of answers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..answer import Answer


def columns_of(answer: Answer, *, nested: bool = False) -> dict[str, np.ndarray]:
    """Return an answer as columns.

    The names are those of `Answer.arrays`. An array with several numbers per row gets a column for each,
    `name.mean.0`, or `name.mean.FEATURE` and `name.prob.CLASS` where these have names.

    Args:
        answer: the answer.
        nested: leave arrays with several axes per row, such as images, in one column.

    Returns:
        Name → (n,), or (n, *shape) if nested; views of the answer's arrays where possible.

    Example:
        >>> import mmppl, numpy as np
        >>> answer = mmppl.Answer("model", None, np.array([12, 24]), {"z": {"mean": np.zeros((2, 2))}})
        >>> list(columns_of(answer))
        ['id', 'z.mean.0', 'z.mean.1']
    """
    columns: dict[str, np.ndarray] = {}
    for key, value in answer.arrays().items():
        if key.endswith((".classes", ".modalities")):
            continue
        if nested and value.ndim > 2:
            columns[key] = value
            continue
        flat = value.reshape(len(value), int(np.prod(value.shape[1:])))  # -1 is unknown where there are no rows
        columns |= {name: flat[:, at] for at, name in enumerate(_names(answer, key, value, flat.shape[1]))}
    return columns


def _names(answer: Answer, key: str, value: np.ndarray, width: int) -> list[str]:
    """Return the names of the columns of one array."""
    name, _, kind = key.rpartition(".")
    if kind == "prob" and value.ndim == 2:
        return [f"{key}.{c}" for c in answer.want[name]["classes"]]
    if value.ndim == 2 and width == len(answer.features.get(name, ())) > 1:
        return [f"{key}.{feature}" for feature in answer.features[name]]
    return [key] if width == 1 else [f"{key}.{at}" for at in range(width)]
