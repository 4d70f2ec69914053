"""Metrics of generated numbers, in the units of the input, each beside anchors without a latent model."""

from functools import partial

from ..anchors import interval
from ..registry import metric
from ..scores import coverage, interval_score, r_squared, rmse
from ..study import Target


@metric("rmse", of=("number", "tags"))
def rmse_of_mean(target: Target) -> float:
    """Root mean squared error of the predictive mean."""
    return rmse(target.truth, target.answer["mean"])


def rmse_of(way: str, target: Target) -> float:
    """The same of an anchor."""
    answer = target.anchor(way)
    return rmse(target.truth, answer["mean"]) if answer else float("nan")


metric("rmse_global", of=("number", "tags"), asks=False)(partial(rmse_of, "global"))
metric("rmse_class", of=("number", "tags"), asks=False, needs_label=True)(partial(rmse_of, "class"))
metric("rmse_linear", of=("number", "tags"), asks=False)(partial(rmse_of, "linear"))
metric("rmse_boosting", of=("number", "tags"), asks=False)(partial(rmse_of, "boosting"))


@metric("r2", of=("number", "tags"))
def r2(target: Target) -> float:
    """R² against the training mean."""
    return r_squared(rmse_of_mean(target), rmse_of("global", target))


@metric("coverage50", of="number", quantiles=(0.25, 0.75))
def coverage_of_half(target: Target) -> float:
    """Share of values inside the central 50 % interval."""
    return coverage(target.truth, target.answer["q25"], target.answer["q75"])


@metric("coverage90", of="number", quantiles=(0.05, 0.95))
def coverage_of_nine_tenths(target: Target) -> float:
    """Share of values inside the central 90 % interval."""
    return coverage(target.truth, target.answer["q05"], target.answer["q95"])


@metric("width90", of="number", quantiles=(0.05, 0.95))
def width_of_nine_tenths(target: Target) -> float:
    """Mean width of the central 90 % interval."""
    return float((target.answer["q95"] - target.answer["q05"]).mean(dtype=float))


@metric("interval_score90", of="number", quantiles=(0.05, 0.95))
def score_of_nine_tenths(target: Target) -> float:
    """Interval score of the central 90 % interval."""
    return interval_score(target.truth, target.answer["q05"], target.answer["q95"], 0.9)


def interval_score_of(way: str, target: Target) -> float:
    """The same of an anchor, whose intervals are Gaussian."""
    answer = target.anchor(way)
    return interval_score(target.truth, *interval(answer, 0.9), 0.9) if answer else float("nan")


metric("interval_score90_global", of="number", asks=False)(partial(interval_score_of, "global"))
metric("interval_score90_linear", of="number", asks=False)(partial(interval_score_of, "linear"))
