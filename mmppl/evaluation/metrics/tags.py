"""Metrics of tags, labels of several columns of which each is yes or no, beside logistic regression of each column."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..registry import metric
from ..study import Target

Columns = list[tuple[np.ndarray, np.ndarray]]


def columns_of(target: Target, mean: np.ndarray) -> Columns:
    """Return the truth (bool) and the probability of each column, over the rows where it is known to be yes or no."""
    truth, mean = target.truth, np.broadcast_to(mean, target.truth.shape)
    column = target.column_of_each
    if column is None:
        pairs = list(zip(*(array.reshape(len(truth), -1).T for array in (truth, mean))))
    else:
        pairs = [(truth[column == i], mean[column == i]) for i in range(target.modality.size)]
    known = [(t == 0) | (t == 1) for t, _ in pairs]
    return [(t[k] == 1, p[k].astype(np.float64)) for (t, p), k in zip(pairs, known)]


def of_each(score: Callable[[np.ndarray, np.ndarray], float], columns: Columns) -> float:
    """The mean of a score over the columns that hold both yes and no; NaN without one ("macro")."""
    found = [score(truth, share) for truth, share in columns if truth.any() and not truth.all()]
    return float(np.mean(found)) if found else float("nan")


def of_all(score: Callable[[np.ndarray, np.ndarray], float], columns: Columns) -> float:
    """The score of all entries together ("micro")."""
    return of_each(score, [tuple(map(np.concatenate, zip(*columns)))])  # type: ignore[list-item]


def area(truth: np.ndarray, share: np.ndarray) -> float:
    """The area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, share))


def average_precision(truth: np.ndarray, share: np.ndarray) -> float:
    """The mean precision over the recalls that rows of "yes" add, from the most probable row on."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(truth, share))


def f1(truth: np.ndarray, share: np.ndarray) -> float:
    """The harmonic mean of precision and recall of "yes", which is said from a probability of ½ on."""
    said = share >= 0.5
    return float(2 * (truth & said).sum() / (truth.sum() + said.sum()))


SCORES: dict[str, Callable[[Columns], float]] = {
    "auc": partial(of_each, area),
    "auc_micro": partial(of_all, area),
    "average_precision": partial(of_each, average_precision),
    "average_precision_micro": partial(of_all, average_precision),
    "f1_macro": partial(of_each, f1),
    "f1_micro": partial(of_all, f1),
}


def of_answer(score: Callable[[Columns], float], target: Target) -> float:
    """Score the program's probabilities."""
    return score(columns_of(target, target.answer["mean"]))


def of_anchor(score: Callable[[Columns], float], way: str, target: Target) -> float:
    """The same of an anchor."""
    answer = target.anchor(way)
    return score(columns_of(target, answer["mean"])) if answer else float("nan")


for name, score in SCORES.items():
    metric(name, of="tags")(partial(of_answer, score))
    for way in ("linear", "boosting"):
        metric(f"{name}_{way}", of="tags", asks=False)(partial(of_anchor, score, way))
