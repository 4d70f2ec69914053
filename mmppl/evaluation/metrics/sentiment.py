"""Metrics of labels that are one number, each beside anchors without a latent model; of sentiment from −3 to 3 in seven
classes, and by sign in two conventions, as the literature on CMU-MOSI and CMU-MOSEI reports it.

They are computed from one number per row: the median of the answer if the likelihood is a Laplace, whose log-density is
an absolute error, and else its mean. Scores of sentiment round the true values (not the predictions) to five decimals:
they have been through the single-precision units of a model, where a 0 or a 2.5 may have moved across a limit.

Source: Zadeh, Chen, Poria, Cambria & Morency 2017, arXiv:1707.07250, for seven classes and two; Rahman et al. 2020,
arXiv:1908.05787, for the convention without neutral rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ...data.dataset import Dataset
from ...modalities.modality import Modality
from ..registry import metric
from ..scores import correlation, mean_absolute_error
from ..study import Target, point

LIMIT = 3.0
DECIMALS = 5


def seven_way_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the share of rows whose nearest whole number from −3 to 3 is right.

    Both are clipped to [−3, 3] and rounded, a half to the even number (so 2.5 is 2 and −1.5 is −2).

    Args:
        truth: (n,) scores.
        predicted: (n,) scores.

    Returns:
        A share in [0, 1].

    Example:
        >>> seven_way_accuracy(np.array([2.5, -1.0, 3.0]), np.array([1.8, -0.4, 7.0]))
        0.6666666666666666
    """
    classes = (np.round(np.clip(x, -LIMIT, LIMIT)) for x in (_exact(truth), predicted))
    return float(np.equal(*classes).mean())


def two_way_accuracy(truth: np.ndarray, predicted: np.ndarray, *, neutral: bool = True) -> float:
    """Compute the share of rows whose sign is right, where 0 counts as positive.

    Args:
        truth: (n,) scores.
        predicted: (n,) scores.
        neutral: whether rows whose true score is 0 count, as positive ones; else they are left out.

    Returns:
        A share in [0, 1]; NaN without a row.

    Example:
        >>> truth, predicted = np.array([0.0, 1.0, -2.0]), np.array([-0.1, 0.5, -1.0])
        >>> two_way_accuracy(truth, predicted), two_way_accuracy(truth, predicted, neutral=False)
        (0.6666666666666666, 1.0)
    """
    positive, found = _signs(truth, predicted, neutral)
    return float((positive == found).mean()) if len(positive) else float("nan")


def two_way_f1(truth: np.ndarray, predicted: np.ndarray, *, neutral: bool = True) -> float:
    """Compute the F1 of both signs, each weighted by its number of rows ("weighted" in scikit-learn).

    Args:
        truth: (n,) scores.
        predicted: (n,) scores.
        neutral: as in `two_way_accuracy`.

    Returns:
        A number in [0, 1]; NaN without a row.

    Example:
        >>> two_way_f1(np.array([1.0, 1.0, -1.0]), np.array([2.0, -1.0, -1.0]))
        0.6666666666666666
    """
    positive, found = _signs(truth, predicted, neutral)
    total = 0.0
    for sign in (True, False):
        rows = (positive == sign).sum()
        hits, named = ((positive == sign) & (found == sign)).sum(), (found == sign).sum()
        total += rows * 2 * hits / max(rows + named, 1)
    return float(total / len(positive)) if len(positive) else float("nan")


def is_sentiment(values: np.ndarray) -> bool:
    """Say whether numbers look like sentiment: of both signs, all in [−3, 3], and beyond ±2 at one end.

    Args:
        values: (n,) the values of all rows that have the label.

    Returns:
        True if they do.
    """
    values = _exact(values)
    return bool(len(values) and values.min() < 0 < values.max() and 2 < np.abs(values).max() <= LIMIT)


def _exact(truth: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(truth, np.float64), DECIMALS)


def _signs(truth: np.ndarray, predicted: np.ndarray, neutral: bool) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = _exact(truth).ravel(), np.asarray(predicted).ravel()
    kept = np.ones(len(truth), bool) if neutral else truth != 0
    return truth[kept] >= 0, predicted[kept] >= 0


MEDIAN = (0.5,)
GENERAL: dict[str, Callable[..., float]] = {"mae": mean_absolute_error, "corr": correlation}
SENTIMENT: dict[str, Callable[..., float]] = {
    "a2": two_way_accuracy,
    "a2_nonzero": partial(two_way_accuracy, neutral=False),
    "a7": seven_way_accuracy,
    "f1": two_way_f1,
    "f1_nonzero": partial(two_way_f1, neutral=False),
}
ANCHORS = {"mae": ("global", "linear"), "corr": ("linear",), "a2": ("linear",), "a7": ("linear",)}


def of_point(score: Callable[..., float], target: Target) -> float:
    """Score the point prediction."""
    return score(target.truth, point(target.modality, target.answer))


def of_anchor(score: Callable[..., float], way: str, target: Target) -> float:
    """The same of an anchor, whose point prediction is its mean."""
    answer = target.anchor(way)
    return score(target.truth, answer["mean"]) if answer else float("nan")


def in_range(data: Dataset, m: Modality) -> bool:
    """Whether the label looks like sentiment from −3 to 3; where it does not, its metrics have to be asked for."""
    values = data.values[m.name][data.observed[m.name]].numpy()
    return is_sentiment(np.asarray(m.value_in_input_units(values), np.float64))


for name, score in (GENERAL | SENTIMENT).items():
    usual = in_range if name in SENTIMENT else None
    metric(name, of="score", quantiles=MEDIAN, usual=usual)(partial(of_point, score))
    for way in ANCHORS.get(name, ()):
        metric(f"{name}_{way}", of="score", asks=False, usual=usual)(partial(of_anchor, score, way))
