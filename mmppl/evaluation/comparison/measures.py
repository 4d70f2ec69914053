"""By what answers are compared: which loss of single rows, and how its mean is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NATS = "nats"


@dataclass(frozen=True)
class Measure:
    """A loss, whose smaller mean is better.

    Args:
        loss: its name in `Losses.own`.
        title: in words.
        root: whether the square root of the mean is shown.
        share: whether it is a share of rows, shown in percent.
        note: what a reader has to know of its differences.
    """

    loss: str
    title: str
    root: bool = False
    share: bool = False
    note: str = ""


MEASURES: Mapping[str, Measure] = {
    measure.loss: measure
    for measure in (
        Measure("log_loss", "log loss"),
        Measure("error", "error", share=True),
        Measure("square", "rmse", root=True),
        Measure("time", "error of the median"),
        Measure(
            NATS, "−ln p",
            note="ln p is estimated by importance sampling, on average a lower bound; a difference of two lower bounds "
            "is no bound, and may tell no more than how loose each of them is",
        ),
    )
}  # fmt: skip
"""The measures by the name of their loss, those that come first decide the ranks."""

OF_CLASSES = ("log_loss", "error")


def measures_of(losses: Sequence[str], rank_by: str = "log_loss") -> list[Measure]:
    """Choose the measures of a question.

    Args:
        losses: the names of the losses that its answers have.
        rank_by: "log_loss" or "error", which of the two ranks the answers about a class.

    Returns:
        The measures; the first one ranks.
    """
    found = [measure for name, measure in MEASURES.items() if name in losses]
    return sorted(found, key=lambda measure: len(found) > 1 and measure.loss != rank_by)
