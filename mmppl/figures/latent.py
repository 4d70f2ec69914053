"""The latent space in the plane: one t-SNE for all conditioning sets, so that they can be compared."""

from __future__ import annotations

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..core.roles import class_label
from ..errors import UsageError
from ..evaluation.conditioning import default_conditioning_sets, has_any, set_name
from ..modalities.modality import Modality
from .drawing import BLUE, caption, class_codes, hide_axes, quoted
from .registry import Subject, figure

MAX_POINTS = 2800  # over all conditioning sets; t-SNE takes about ten seconds for these
DRAWS = 64
COLUMNS = 4
# Distinct to the colour-blind (Tol, "muted", and black). The figure also names each class, and the marker changes
# after ten classes.
CLASS_COLOURS = (
    "#CC6677", "#332288", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#000000",
)  # fmt: skip
MARKERS = "osv^DPX*<>"


@figure("latent", shows="t-SNE of z by what is given", absent="no latent z, or less than five rows")
def latent_space(subject: Subject) -> Figure | None:
    """Draw a t-SNE of the means of z given each conditioning set: one common plane, one plot per set, coloured by the
    first label.

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if there are too few rows or no latent z.
    """
    model, rows, about = subject.model, subject.rows, subject.about
    from sklearn.manifold import TSNE

    sets = default_conditioning_sets(model.program)
    rows_of = []
    for given in sets:
        test = rows.take(has_any(rows, given).nonzero().squeeze(-1))
        most = min(len(test), MAX_POINTS // len(sets))
        rows_of.append(test.take(torch.linspace(0, len(test) - 1, most).long()))
    if sum(map(len, rows_of)) < 5:
        return None
    try:
        means = [
            model.query(some, given=given, want=["z"], draws=DRAWS, split="all", quantiles=()).want["z"]["mean"]
            for some, given in zip(rows_of, sets)
            if len(some)
        ]
    except UsageError:  # the latents of the program have other names
        return None
    z = np.concatenate(means)
    start = "pca" if z.shape[1] > 1 else "random"
    flat = TSNE(init=start, perplexity=min(30.0, (len(z) - 1) / 3), random_state=0).fit_transform(z)
    parts = np.split(flat, np.cumsum([len(some) for some in rows_of])[:-1])

    across = min(COLUMNS, len(sets))
    deep = math.ceil(len(sets) / across)
    side = 5.0 if len(sets) == 1 else 3.0
    drawn = Figure(figsize=(side * across + 0.2, side * deep + 0.5), layout="constrained")
    axes = drawn.subplots(deep, across, squeeze=False, sharex=True, sharey=True).ravel()
    label = class_label(model.program)
    for ax, given, points, some in zip(axes, sets, parts, rows_of):
        _scatter(ax, points, class_codes(some, label), label)
        ax.set_title(f"given {quoted(set_name(given))}", loc="left")
    for ax in axes:
        hide_axes(ax)
    for ax in axes[len(sets) :]:
        ax.set_visible(False)
    by = f", by {label.name}" if label else ""
    counts = " + ".join(dict.fromkeys(f"{len(some):,}" for some in rows_of))
    each = " each" if len(sets) > 1 else ""
    caption(drawn, f"{about} · t-SNE of the mean of z{by} · n = {counts} of {len(rows):,}{each} · D = {z.shape[1]}")
    return drawn


def _scatter(ax: Axes, points: np.ndarray, codes: np.ndarray, label: Modality | None) -> None:
    """Draw points in the colour of their class, with its name at their median."""
    for code in np.unique(codes):
        x, y = points[codes == code].T
        if label is None or code < 0:
            ax.scatter(x, y, s=7, color=BLUE if label is None else "#cccccc", linewidths=0)
            continue
        colour = CLASS_COLOURS[code % len(CLASS_COLOURS)]
        ax.scatter(x, y, s=7, color=colour, marker=MARKERS[code // len(CLASS_COLOURS) % len(MARKERS)], linewidths=0)
        box = {"facecolor": "white", "alpha": 0.85, "edgecolor": colour, "boxstyle": "round,pad=0.2"}
        place = (float(np.median(x)), float(np.median(y)))
        name = quoted((label.classes or ())[code])
        ax.annotate(name, place, (0, 10), textcoords="offset points", ha="center", va="center", bbox=box, fontsize=7)
