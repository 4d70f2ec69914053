"""Calibration curves: whether probabilities and quantiles come true as often as they say."""

from __future__ import annotations

from ...modalities.kinds import kind
from ..registry import metric
from ..scores import reliability
from ..study import Target
from .classes import classes_of

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # those of the intervals, and the median: nothing more has to be computed


@metric("calibration", of=("class", "number", "tags"), quantiles=LEVELS)
def calibration_curve(target: Target) -> dict[str, list[float]]:
    """Reliability of the probabilities of classes and tags (`scores.reliability`); of numbers "level" and "share", the
    share of values that are at most the predictive quantile of each level."""
    if kind(target.modality) in ("class", "tags"):
        return reliability(*classes_of(target, target.answer))
    shares = [float((target.truth <= target.answer[f"q{round(100 * p):02d}"]).mean()) for p in LEVELS]
    return {"level": [*LEVELS], "share": shares}
