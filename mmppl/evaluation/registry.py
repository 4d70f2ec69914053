"""Metrics by name: what `evaluate` can compute about a fitted model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..base.registry import Registry
from ..core.program import Program
from ..data.dataset import Dataset
from ..modalities.kinds import is_score, kind
from ..modalities.modality import Modality

if TYPE_CHECKING:
    from .study import Study, Target


Score = float | dict[str, list[float]]


class Metric(Protocol):
    """A family of metrics that share their work.

    Attributes:
        on_request: True if it takes minutes and is computed only when it is named.
    """

    on_request: bool

    def names(self, program: Program) -> list[str]:
        """List the metrics of the family that a program has, such as "nll.image".

        Args:
            program: the program.

        Returns:
            The names.
        """

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute metrics of the family.

        Args:
            study: the evaluation.
            wanted: the names that are wanted, also those of other families.

        Returns:
            name → number, {conditioning set: number}, or a dict of curves; metrics that cannot be computed are left
            out.
        """


@dataclass(frozen=True)
class TargetMetric:
    """A metric that is one number, or one curve, for each modality and conditioning set.

    Args:
        name: its name; "error" becomes "error.label".
        of: the kinds of modality that have it (see `mmppl.modalities.kinds.kind`; "score" is a label that is one
            number, and "ranks" classes that have an order).
        score: the function target → number, or a dict of lists of numbers for a curve; NaN means that there is none.
        asks: whether it needs the program's answer (`target.answer` is empty otherwise).
        quantiles: the quantiles of the answer that it needs, in (0, 1).
        needs_label: True if it exists only beside a class label.
        usual: the function (data, modality) → whether it is computed where no metric is named; None: always.
    """

    name: str
    of: tuple[str, ...]
    score: Callable[[Target], Score]
    asks: bool = True
    quantiles: tuple[float, ...] = ()
    needs_label: bool = False
    usual: Callable[[Dataset, Modality], bool] | None = None

    def is_of(self, modality: Modality) -> bool:
        """Say whether a modality or label is of a kind that has this metric."""
        kinds = {kind(modality), modality.family.kind, "score" if is_score(modality) else ""}
        return not kinds.isdisjoint(self.of)


def _lacks(thing: Metric | TargetMetric) -> list[str]:
    """List the required parts that a metric does not have."""
    if isinstance(thing, TargetMetric):
        return [] if thing.of and callable(thing.score) else ["the kinds of modality that it is of, or its score"]
    return [part for part in ("names", "compute", "on_request") if not hasattr(thing, part)]


METRICS: Registry[Any] = Registry(
    "metric", f"{__package__}.metrics", folders=("views",), named_by_file=False, lacks=_lacks
)


def metric(
    name: str,
    *,
    of: str | Sequence[str],
    asks: bool = True,
    quantiles: Sequence[float] = (),
    needs_label: bool = False,
    usual: Callable[[Dataset, Modality], bool] | None = None,
) -> Callable[[Callable[[Target], Any]], Callable[[Target], Any]]:
    """Register a function of a `Target` as a metric of `evaluate`.

    Args:
        name: the name of the metric.
        of: see `TargetMetric`.
        asks: see `TargetMetric`.
        quantiles: see `TargetMetric`.
        needs_label: see `TargetMetric`.
        usual: see `TargetMetric`.

    Returns:
        A decorator, which returns the function unchanged.

    Raises:
        UsageError: the name is taken, or a required part is missing.

    Example:
        >>> import mmppl, numpy as np
        >>> from mmppl.evaluation.registry import METRICS
        >>> @mmppl.metric("median_error", of="number")
        ... def median_error(target):
        ...     return float(np.median(np.abs(target.truth - target.answer["mean"])))
        >>> METRICS["median_error"].of
        ('number',)
        >>> METRICS.forget("median_error")
    """

    def add(score: Callable[[Target], Any]) -> Callable[[Target], Any]:
        kinds = (of,) if isinstance(of, str) else tuple(of)
        METRICS.register(name)(TargetMetric(name, kinds, score, asks, tuple(quantiles), needs_label, usual))
        return score

    return add


def family(name: str) -> Callable[[type], type]:
    """Register a class as a `Metric`. The class is built without arguments.

    Args:
        name: the name of the family.

    Returns:
        A class decorator.

    Raises:
        UsageError: the name is taken, or a required part is missing.
    """

    def add(cls: type) -> type:
        METRICS.register(name)(cls())
        return cls

    return add
