"""Metrics of generated numbers, in the units of the input, relative to the means that anchor them."""

from ..registry import metric
from ..scores import coverage, explained_share, rmse
from ..study import Target


@metric("rmse", of="number")
def rmse_of_mean(target: Target) -> float:
    """Root mean squared error of the predictive mean."""
    return rmse(target.truth, target.answer["mean"])


@metric("explained", of="number", needs_label=True)
def explained(target: Target) -> float:
    """Share of the way from the rmse of the training mean to that of the mean of the true class."""
    return explained_share(rmse(target.truth, target.answer["mean"]), *target.study.anchors(target.modality))


@metric("coverage50", of="number", quantiles=(0.25, 0.75))
def coverage_of_half(target: Target) -> float:
    """Share of values inside the central 50 % interval."""
    return coverage(target.truth, target.answer["q25"], target.answer["q75"])


@metric("coverage90", of="number", quantiles=(0.05, 0.95))
def coverage_of_nine_tenths(target: Target) -> float:
    """Share of values inside the central 90 % interval."""
    return coverage(target.truth, target.answer["q05"], target.answer["q95"])
