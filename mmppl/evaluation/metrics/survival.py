"""Metrics of survival times, beside the Kaplan–Meier median and a Weibull regression without a latent."""

from functools import partial

from ..registry import metric
from ..study import Target
from ..survival.scores import concordance, time_errors

MEDIAN = (0.5,)


@metric("concordance", of="survival")
def concordance_of_mean(target: Target) -> float:
    """Harrell's C of the predictive mean (a median of few draws has more noise); ½ without information."""
    return concordance(target.truth.ravel(), target.answer["mean"].ravel())


@metric("time_error", of="survival", quantiles=MEDIAN)
def error_of_median(target: Target) -> float:
    """Mean absolute error of the predictive median; of censored times what is known of it (a hinge)."""
    return float(time_errors(target.truth.ravel(), target.answer["q50"].ravel()).mean())


def concordance_of(way: str, target: Target) -> float:
    """The same of an anchor."""
    answer = target.anchor(way)
    return concordance(target.truth.ravel(), answer["q50"].ravel()) if answer else float("nan")


def time_error_of(way: str, target: Target) -> float:
    """The same of an anchor."""
    answer = target.anchor(way)
    return float(time_errors(target.truth.ravel(), answer["q50"].ravel()).mean()) if answer else float("nan")


metric("concordance_linear", of="survival", asks=False)(partial(concordance_of, "linear"))
metric("time_error_global", of="survival", asks=False)(partial(time_error_of, "global"))
metric("time_error_linear", of="survival", asks=False)(partial(time_error_of, "linear"))
