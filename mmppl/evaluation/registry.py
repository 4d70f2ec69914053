"""Metrics by name: what `evaluate` can compute of a fitted model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..base.registry import Registry
from ..core.program import Program

if TYPE_CHECKING:
    from .study import Study, Target


class Metric(Protocol):
    """A family of metrics that share their work.

    Attributes:
        on_request: it takes minutes, and is computed only where it is named.
    """

    on_request: bool

    def names(self, program: Program) -> list[str]:
        """Every metric of the family that a program has, such as "nll.image"."""

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Those of `wanted` that there are: name → number, {conditioning set: number}, or a dict of curves."""


@dataclass(frozen=True)
class TargetMetric:
    """A number for each modality and conditioning set.

    Args:
        name: what it is called; "error" becomes "error.label".
        of: the kinds of modality that have it ("class", "sequence", "number").
        score: target → number; NaN where there is none.
        asks: needs the program's answer (else `target.answer` is empty).
        quantiles: of the answer that it needs, in (0, 1).
        needs_label: exists only beside a class label.
    """

    name: str
    of: tuple[str, ...]
    score: Callable[[Target], float]
    asks: bool = True
    quantiles: tuple[float, ...] = ()
    needs_label: bool = False


def _lacks(thing: Metric | TargetMetric) -> list[str]:
    """Required parts that a metric does not have."""
    if isinstance(thing, TargetMetric):
        return [] if thing.of and callable(thing.score) else ["the kinds of modality that it is of, or its score"]
    return [part for part in ("names", "compute", "on_request") if not hasattr(thing, part)]


METRICS: Registry[Any] = Registry("metric", f"{__package__}.metrics", named_by_file=False, lacks=_lacks)


def metric(
    name: str, *, of: str | Sequence[str], asks: bool = True, quantiles: Sequence[float] = (), needs_label: bool = False
) -> Callable[[Callable[[Target], float]], Callable[[Target], float]]:
    """Decorator that makes a function of a `Target` a metric of `evaluate`.

    Args:
        name: what it is called.
        of, asks, quantiles, needs_label: see `TargetMetric`.
    Raises:
        UsageError: the name is taken.
    """

    def add(score: Callable[[Target], float]) -> Callable[[Target], float]:
        kinds = (of,) if isinstance(of, str) else tuple(of)
        METRICS.register(name)(TargetMetric(name, kinds, score, asks, tuple(quantiles), needs_label))
        return score

    return add


def family(name: str) -> Callable[[type], type]:
    """Class decorator that registers a `Metric`, built without arguments."""

    def add(cls: type) -> type:
        METRICS.register(name)(cls())
        return cls

    return add
