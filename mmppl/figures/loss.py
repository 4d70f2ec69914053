"""The figure of the loss: small multiples over the epochs of a fit."""

from __future__ import annotations

import itertools
import math

from matplotlib.figure import Figure

from ..inference.fitted import FittedModel
from .drawing import BLUE, ORANGE, caption, quoted
from .registry import figure
from .training_curves import draw_curve, over_epochs

MOST = 24  # panels


@figure(
    "loss",
    shows="the loss, its terms and validation metrics over the epochs",
    absent="the model has no history",
    of_history=True,
)
def losses(model: FittedModel) -> Figure | None:
    """Draw the loss, each unweighted term and each validation metric.

    Args:
        model: the model, with its history.

    Returns:
        The figure; None if the model has no history.
    """
    if not model.metrics:
        return None
    lines, last = model.metrics, model.metrics[-1]
    curves_by_name = {"loss": {part: [line["loss"][part] for line in lines] for part in ("train", "valid")}}
    weights = {term: weight for line in lines for term, weight in line["weights"].items()}  # a stage may lack some
    for term, weight in weights.items():
        name = f"{term}  (weight {weight:.3g})"
        curves_by_name[name] = {part: [line[part].get(term) for line in lines] for part in ("train", "valid")}
    for metric in last["metrics"]:
        curves_by_name[f"{metric}  (validation)"] = {"valid": [line["metrics"].get(metric) for line in lines]}
    left_out = len(curves_by_name) - MOST
    curves_by_name = dict(itertools.islice(curves_by_name.items(), MOST))
    columns = min(4, len(curves_by_name))
    deep = math.ceil(len(curves_by_name) / columns)
    figure = Figure(figsize=(2.6 * columns, 1.9 * deep + 0.4), layout="constrained")
    axes = figure.subplots(deep, columns, squeeze=False).ravel()
    for ax, (name, curves) in zip(axes, curves_by_name.items()):
        for part, curve in curves.items():
            colour, dash, title = (BLUE, "-", "train") if part == "train" else (ORANGE, "--", "validation")
            draw_curve(ax, lines, curve, color=colour, linestyle=dash, label=title)
        ax.set_title(quoted(name), loc="left")
        over_epochs(ax)
    for ax in axes[len(curves_by_name) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(curves_by_name) - columns) : len(curves_by_name)]:
        ax.set_xlabel("epoch")
    axes[0].set_ylabel("nats per row")
    axes[0].legend()
    more = f" · {left_out} more are not drawn" if left_out > 0 else ""
    caption(figure, f"run {model.title} · {model.about} rows, all parts{more}")
    return figure
