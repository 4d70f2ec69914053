"""Metrics of predicted classes, each beside anchors without a latent model."""

from functools import partial

import numpy as np

from ..registry import metric
from ..scores import balanced_accuracy, calibration_error, error_rate, log_loss, whole_error_rate
from ..study import Target


@metric("error", of=("class", "sequence"))
def error(target: Target) -> float:
    """Share of wrong classes; for a sequence, over all positions."""
    return error_rate(target.truth, target.answer["prob"].argmax(-1))


def error_of(way: str, target: Target) -> float:
    """The same of an anchor."""
    answer = target.anchor(way)
    return error_rate(target.truth, answer["prob"].argmax(-1)) if answer else float("nan")


metric("error_global", of=("class", "sequence"), asks=False)(partial(error_of, "global"))
metric("error_linear", of=("class", "sequence"), asks=False)(partial(error_of, "linear"))
metric("error_boosting", of="class", asks=False)(partial(error_of, "boosting"))


@metric("balanced_accuracy", of="class")
def mean_recall(target: Target) -> float:
    """Mean recall over the classes that occur."""
    return balanced_accuracy(target.truth, target.answer["prob"].argmax(-1))


@metric("log_loss", of="class")
def mean_log_loss(target: Target) -> float:
    """−ln p(true class), in nats."""
    return log_loss(target.truth, target.answer["prob"])


def log_loss_of(way: str, target: Target) -> float:
    """The same of an anchor."""
    answer = target.anchor(way)
    return log_loss(target.truth, answer["prob"]) if answer else float("nan")


for way in ("global", "linear", "boosting"):
    metric(f"log_loss_{way}", of="class", asks=False)(partial(log_loss_of, way))


@metric("calibration_error", of="class")
def expected_calibration_error(target: Target) -> float:
    """Expected calibration error over 15 bins of confidence."""
    return calibration_error(target.truth, target.answer["prob"])


@metric("error_whole", of="sequence")
def error_of_whole(target: Target) -> float:
    """Share of rows in which any position is wrong."""
    if target.in_parts:
        wrong = (target.truth != target.answer["prob"].argmax(-1)).reshape(len(target.truth), -1).any(1)
        return float((np.bincount(target.row_of_each, wrong) > 0).mean())
    return whole_error_rate(target.truth, target.answer["prob"].argmax(-1))
