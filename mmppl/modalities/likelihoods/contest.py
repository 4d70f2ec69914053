"""Likelihoods that rows may choose between where nobody names one: each fits itself to some rows and scores others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from .registry import LIKELIHOODS

Fit = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Kind = Literal["counts", "shares"]


def contenders(kind: Kind) -> dict[str, Fit]:
    """Return the likelihoods that contend for counts, or for proportions.

    Args:
        kind: which.

    Returns:
        Name, with what it is fitted to behind it where it has several ways → a function (x, there, y, kept) of numbers
        (n, features) and which of them exist, of rows to fit and rows to score, that returns the nats of each number
        of the latter, in the units of the input: a density counts as the probability of the unit around a whole number.
    """
    found: dict[str, Fit] = {}
    for name in LIKELIHOODS:
        contests = getattr(LIKELIHOODS[name], "contests", {})
        found |= {f"{name} {way}".strip(): fit for way, fit in contests.get(kind, {}).items()}
    return found


def of_library_size(x: np.ndarray, there: np.ndarray, y: np.ndarray, kept: np.ndarray) -> tuple[str, float]:
    """Fit counts whose means are proportional to the total of their row.

    Args:
        x: (n, features) rows to fit.
        there: which of their numbers exist.
        y: (m, features) rows to score.
        kept: which of their numbers exist.

    Returns:
        The name of the likelihood that does, and the nats of all numbers of y.
    """
    name = next(name for name in LIKELIHOODS if hasattr(LIKELIHOODS[name], "sized_nats"))
    return name, float(LIKELIHOODS[name].sized_nats(x, there, y, kept))


def moments(x: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, mean and variance of each feature, over the numbers that exist."""
    number = np.maximum(there.sum(0), 1)
    mean = np.where(there, x, 0.0).sum(0) / number
    return number, mean, np.where(there, (x - mean) ** 2, 0.0).sum(0) / number
