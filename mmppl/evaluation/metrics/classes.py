"""Metrics of predicted classes, each beside anchors without a latent model. Of tags, each of which is a class of two
(yes or no), they are means over all entries."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ..registry import metric
from ..scores import balanced_accuracy, calibration_error, error_rate, log_loss, whole_error_rate
from ..study import Target

PLAIN, WITH_SEQUENCES = ("class", "tags"), ("class", "sequence", "tags")


def classes_of(target: Target, answer: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the true classes and the probabilities of an answer.

    Args:
        target: what is asked about.
        answer: its answer, or that of an anchor.

    Returns:
        (n, *shape) codes and (n, *shape, K); of tags one row for each entry that is known to be yes or no.
    """
    if "prob" in answer:
        return target.truth, answer["prob"]
    truth, yes = target.truth.ravel(), np.broadcast_to(answer["mean"], target.truth.shape).ravel().astype(np.float64)
    known = (truth == 0) | (truth == 1)
    return truth[known].astype(np.int64), np.stack([1 - yes, yes], -1)[known]


def scored(score: Callable[[np.ndarray, np.ndarray], float], target: Target, answer: Mapping[str, np.ndarray]) -> float:
    """Score an answer; NaN where there is none, or no entry of tags is yes or no."""
    if not answer:
        return float("nan")
    truth, prob = classes_of(target, answer)
    return score(truth, prob) if len(truth) else float("nan")


def wrong(truth: np.ndarray, prob: np.ndarray) -> float:
    """Share of wrong classes; for a sequence, over all positions."""
    return error_rate(truth, prob.argmax(-1))


@metric("error", of=WITH_SEQUENCES)
def error(target: Target) -> float:
    """Share of wrong classes; for a sequence, over all positions."""
    return scored(wrong, target, target.answer)


def error_of(way: str, target: Target) -> float:
    """The same of an anchor."""
    return scored(wrong, target, target.anchor(way))


metric("error_global", of=WITH_SEQUENCES, asks=False)(partial(error_of, "global"))
metric("error_linear", of=WITH_SEQUENCES, asks=False)(partial(error_of, "linear"))
metric("error_boosting", of=PLAIN, asks=False)(partial(error_of, "boosting"))


@metric("balanced_accuracy", of="class")
def mean_recall(target: Target) -> float:
    """Mean recall over the classes that occur."""
    return balanced_accuracy(target.truth, target.answer["prob"].argmax(-1))


@metric("log_loss", of=PLAIN)
def mean_log_loss(target: Target) -> float:
    """−ln p(true class), in nats."""
    return scored(log_loss, target, target.answer)


def log_loss_of(way: str, target: Target) -> float:
    """The same of an anchor."""
    return scored(log_loss, target, target.anchor(way))


for way in ("global", "linear", "boosting"):
    metric(f"log_loss_{way}", of=PLAIN, asks=False)(partial(log_loss_of, way))


@metric("calibration_error", of=PLAIN)
def expected_calibration_error(target: Target) -> float:
    """Expected calibration error over 15 bins of confidence."""
    return scored(calibration_error, target, target.answer)


@metric("error_whole", of="sequence")
def error_of_whole(target: Target) -> float:
    """Share of rows in which any position is wrong."""
    if target.in_parts:
        wrong = (target.truth != target.answer["prob"].argmax(-1)).reshape(len(target.truth), -1).any(1)
        return float((np.bincount(target.row_of_each, wrong) > 0).mean())
    return whole_error_rate(target.truth, target.answer["prob"].argmax(-1))
