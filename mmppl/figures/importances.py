"""How far a program trusts each modality of each row: histograms, and the codes in the plane."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UsageError
from ..evaluation.metrics.importance import QUANTITY, noise_of
from .drawing import BLUE, ORANGE, caption, hide_axes, quoted
from .registry import Subject, figure

MAX_POINTS = 1500  # of each plane
BINS = [i / 40 for i in range(41)]


@figure(
    "importances",
    shows="importances of modalities, and codes by importance",
    absent="no importances, or less than five rows",
)
def importances(subject: Subject) -> Figure | None:
    """Draw for each modality a histogram of its importances, and a t-SNE of the codes of the modality alone, coloured
    by its importance; where the data have the annotation `noise_X`, rows whose X is noise are told apart.

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if the program does not weigh its modalities, or there are too few rows.
    """
    model, rows = subject.model, subject.rows
    names = model.program.encoded
    if QUANTITY not in model.program.quantities or len(rows) < 5:
        return None
    values = model.query(rows, given=list(names), want=[QUANTITY], split="all")[QUANTITY]["value"]
    drawn = Figure(figsize=(3.2 * len(names) + 0.2, 5.6), layout="constrained")
    above, below = drawn.subplots(2, len(names), squeeze=False, height_ratios=(1, 1.6))
    for i, name in enumerate(names):
        seen = rows.observed[name].numpy()
        known = noise_of(rows, name)
        noise = np.zeros(len(rows), bool) if known is None else known
        _histogram(above[i], values[seen, i], noise[seen])
        above[i].set_title(quoted(name), loc="left")
        at = np.flatnonzero(seen)
        at = at[np.linspace(0, len(at) - 1, min(len(at), MAX_POINTS)).astype(int)] if len(at) else at
        _plane(subject, below[i], name, at, values[at, i], noise[at])
    marked = any(noise_of(rows, name) is not None for name in names)
    caption(
        drawn,
        f"{subject.about} · importances (above), t-SNE of the code of each modality alone by its importance (below)"
        + (" · noise in orange, and crosses" if marked else "")
        + f" · n = {len(rows):,}",
    )
    return drawn


def _histogram(ax: Axes, values: np.ndarray, noise: np.ndarray) -> None:
    parts, colours = [values[~noise], values[noise]], [BLUE, ORANGE]
    ax.hist(parts, BINS, stacked=True, color=colours, log=True)
    ax.set_xlabel("importance")
    ax.set_ylabel("rows")


def _plane(subject: Subject, ax: Axes, name: str, at: np.ndarray, values: np.ndarray, noise: np.ndarray) -> None:
    from sklearn.manifold import TSNE

    hide_axes(ax)
    if len(at) < 5:
        return
    some = subject.rows.take(torch.from_numpy(at))
    try:
        z = subject.model.query(some, given=[name], want=["z"], split="all", quantiles=()).want["z"]["mean"]
    except UsageError:  # the latents of the program have other names
        return
    start = "pca" if z.shape[1] > 1 else "random"
    x, y = TSNE(init=start, perplexity=min(30.0, (len(z) - 1) / 3), random_state=0).fit_transform(z).T
    for kind, marker in ((~noise, "o"), (noise, "x")):
        look = {"s": 9, "marker": marker, "c": values[kind], "vmin": 0, "vmax": 1, "cmap": "viridis"}
        ax.scatter(x[kind], y[kind], linewidths=0.7 if marker == "x" else 0, **look)
