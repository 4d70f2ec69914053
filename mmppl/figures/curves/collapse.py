"""The figure of collapse curves: how much of the latent stays near the prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...evaluation.evaluate import evaluate, metric_names
from ...evaluation.scores import DELTA
from ..drawing import caption, quoted
from ..registry import Subject, figure
from ..training_curves import RUN_COLOURS

MAX_ROWS = 2000
METRIC = "collapse"
OF_CONDITIONS = {  # names of the metric's curves → what diverges from what
    "fraction": "all given from the conditions alone",
    "prior_q": "conditions alone from all given",
    "prior_standard": "conditions alone from N(0, I)",
    "q_standard": "all given from N(0, I)",
}


@figure(
    METRIC,
    shows="the share of the latent's dimensions that are within so many nats of the prior",
    absent="it has no latent z with a density, or generates no modality",
)
def collapse(subject: Subject) -> Figure | None:
    """Draw the share of the dimensions of z whose KL is at most ε for all but a share δ of the rows, over ε.

    There is a curve of what is told of z by everything that is given, and by each modality alone. Of a program with
    conditions there are also those of the prior given them, in both directions, and of both from N(0, I), as in the
    paper of CMMD. A curve that is at 1 from the beginning is of a latent that has collapsed. The numbers are those of
    `evaluate` ("collapse").

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if there is no such curve.

    Source: Lucas et al. 2019, arXiv:1911.02469 (ε and δ); Mancisidor et al. 2021, arXiv:2110.04616, figures 2 and 5.
    """
    if METRIC not in metric_names(subject.model.program):
        return None
    rows = subject.rows.take(torch.linspace(0, len(subject.rows) - 1, min(len(subject.rows), MAX_ROWS)).long())
    found = evaluate(subject.model, rows, split="all", metrics=[METRIC], root=subject.root)["metrics"]
    if METRIC not in found:
        return None
    curves = found[METRIC]
    drawn = Figure(figsize=(4.6, 3.4), layout="constrained")
    ax = drawn.subplots()
    _draw(ax, curves)
    ax.set(xlabel="ε, nats", ylabel="share of dimensions", xlim=(0, curves["eps"][-1]), ylim=(-0.02, 1.02))
    ax.legend(fontsize="x-small", title="KL of z", title_fontsize="x-small")
    n = f"n = {len(rows):,} of {len(subject.rows):,}"
    size = f"D = {subject.model.program.latent_dim} · " if hasattr(subject.model.program, "latent_dim") else ""
    caption(drawn, f"{subject.about} · {size}{n} · KL at most ε for {1 - DELTA:.0%} of the rows")
    return drawn


def _draw(ax: Axes, curves: Mapping[str, Any]) -> None:
    """A line for each curve; dashed where one modality alone is given."""
    conditional = "prior_q" in curves
    names = OF_CONDITIONS if conditional else {"fraction": "all given from the prior"}
    lines = [(curves[key], text, "-") for key, text in names.items()]
    lines += [(curve, f"{quoted(name)} alone", "--") for name, curve in curves.get("alone", {}).items()]
    for i, (curve, text, style) in enumerate(lines):
        colour = RUN_COLOURS[i % len(RUN_COLOURS)]
        ax.step(curves["eps"], curve, style, where="post", color=colour, label=text, linewidth=1.2)
