"""Metrics of classes that have an order, beside anchors without a latent model."""

from functools import partial

import numpy as np

from ..registry import metric
from ..study import Target


def median_class(prob: np.ndarray) -> np.ndarray:
    """Find the lowest class up to which the probability is at least ½: no class has a smaller expected distance.

    Args:
        prob: (..., K) probabilities of the classes in their order.

    Returns:
        (...) codes.

    Example:
        >>> median_class(np.array([[0.4, 0.3, 0.3], [0.1, 0.1, 0.8]]))
        array([1, 2])
    """
    below = prob.cumsum(-1, dtype=np.float64)
    return (below < 0.5 * below[..., -1:]).sum(-1)


@metric("rank_error", of="ranks")
def rank_error(target: Target) -> float:
    """Mean distance of the median class from the true one, in ranks."""
    return float(np.abs(median_class(target.answer["prob"]) - target.truth).mean())


def rank_error_of(way: str, target: Target) -> float:
    """The same of an anchor, which knows nothing of the order."""
    answer = target.anchor(way)
    return float(np.abs(median_class(answer["prob"]) - target.truth).mean()) if answer else float("nan")


for way in ("global", "linear", "boosting"):
    metric(f"rank_error_{way}", of="ranks", asks=False)(partial(rank_error_of, way))
