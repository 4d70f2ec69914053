"""How well predicted times order and meet true ones, of which the censored are negative."""

from __future__ import annotations

import numpy as np

BLOCK = 1_000  # rows that are compared with all others at once


def concordance(signed: np.ndarray, predicted: np.ndarray) -> float:
    """Compute Harrell's C: of the pairs of which it is known whose event came first, the share that predicted times
    order so; equal predictions count ½.

    A pair is known if the earlier time is that of an event, or if of two equal times one is that of an event.

    Args:
        signed: (n,) times, negative where censored.
        predicted: (n,) predicted times, or anything that grows with them.

    Returns:
        A share in [0, 1], ½ without information; NaN without a known pair.

    Source: Harrell, Lee & Mark 1996, "Multivariable prognostic models", Statistics in Medicine 15, section 5.5.

    Example:
        >>> concordance(np.array([1.0, -2.0, 3.0]), np.array([5.0, 9.0, 4.0]))
        0.5
    """
    time, event = np.abs(signed), signed > 0
    right, known = 0.0, 0
    for start in range(0, len(time), BLOCK):
        rows = slice(start, start + BLOCK)
        first = (time[rows, None] < time) | ((time[rows, None] == time) & ~event)
        first &= event[rows, None]
        ahead = np.sign(predicted - predicted[rows, None])
        right, known = right + float((first * (ahead + 1)).sum()) / 2, known + int(first.sum())
    return right / known if known else float("nan")


def time_errors(signed: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Compute |predicted − t| of events; of censored times what is known of it, (t − predicted) where positive, else 0.

    Args:
        signed: (n,) times, negative where censored.
        predicted: (n,) predicted times.

    Returns:
        (n,) errors in the units of the times.
    """
    time = np.abs(signed)
    return np.where(signed > 0, np.abs(predicted - time), np.maximum(time - predicted, 0.0))
