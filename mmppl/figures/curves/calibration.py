"""The figure of calibration curves."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...evaluation.evaluate import evaluate, metric_names
from ..drawing import caption, quoted
from ..registry import Subject, figure
from ..training_curves import RUN_COLOURS

MAX_ROWS = 2000
MAX_PANELS = 12
METRIC = "calibration."


@figure(
    "calibration",
    shows="whether probabilities and quantiles come true as often as they say",
    absent="it answers about no label and no numbers, or there is no row to score",
)
def calibration_curves(subject: Subject) -> Figure | None:
    """Draw one panel per label or modality of numbers, with one curve per conditioning set.

    A curve of a label is its accuracy over its confidence, of numbers the share of values that are at most the
    predictive quantile of a level. A calibrated model is on the diagonal.

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if there is nothing to score.
    """
    if not any(name.startswith(METRIC) for name in metric_names(subject.model.program)):
        return None
    rows = subject.rows.take(torch.linspace(0, len(subject.rows) - 1, min(len(subject.rows), MAX_ROWS)).long())
    found = evaluate(subject.model, rows, split="all", metrics=[METRIC], root=subject.root)["metrics"]
    panels = [(name.removeprefix(METRIC), curves) for name, curves in found.items() if name.startswith(METRIC)]
    if not panels:
        return None
    shown = panels[:MAX_PANELS]
    columns = min(4, len(shown))
    deep = math.ceil(len(shown) / columns)
    drawn = Figure(figsize=(2.9 * columns, 2.9 * deep + 0.4), layout="constrained")
    axes = drawn.subplots(deep, columns, squeeze=False).ravel()
    for ax, (name, curves) in zip(axes, shown):
        ax.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        keys = list(curves)
        keys = keys if len(keys) <= len(RUN_COLOURS) else [*keys[: len(RUN_COLOURS) - 1], keys[-1]]
        for colour, key in zip(RUN_COLOURS, keys):
            _draw(ax, curves[key], colour, quoted(key))
        of_class = "rows" in next(iter(curves.values()))
        ax.set_title(quoted(name), loc="left")
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.set_xlabel("confidence" if of_class else "level of the quantile")
        ax.set_ylabel("accuracy" if of_class else "share of values below it")
        ax.legend(title="given", fontsize="x-small", title_fontsize="x-small")
    for ax in axes[len(shown) :]:
        ax.set_visible(False)
    more = f" · {len(panels) - len(shown)} more are not drawn" if len(panels) > len(shown) else ""
    n = f"n = {len(rows):,} of {len(subject.rows):,}"
    caption(drawn, f"{subject.about} · {n} · diagonal: calibrated · dots: rows of a bin{more}")
    return drawn


def _draw(ax: Axes, curve: dict[str, list[float]], colour: str, label: str) -> None:
    """A line, with a dot for each level, or for each bin as large as it has rows."""
    if "rows" in curve:
        rows, confidence, right = (np.array(curve[key]) for key in ("rows", "confidence", "right"))
        there = rows > 0
        x, y, size = confidence[there] / rows[there], right[there] / rows[there], 3 + 80 * rows[there]
    else:
        x, y, size = np.array(curve["level"]), np.array(curve["share"]), np.full(len(curve["level"]), 12.0)
    ax.plot(x, y, color=colour, label=label, linewidth=0.8)
    ax.scatter(x, y, size, color=colour, linewidths=0, clip_on=False)
