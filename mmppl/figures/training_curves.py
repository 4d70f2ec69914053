"""Curves over the epochs of fits: one term of several models in one picture."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..base.files import write
from ..errors import UsageError, suggest
from ..inference.fitted import FittedModel
from .drawing import caption, png, quoted, styled

RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito
LETTERS = 74  # in a line of the legend


def plot_term(models: Sequence[FittedModel], term: str, out: Path) -> Path:
    """Draw one term over the epochs of several fits, such as w2 of an aligned and an unaligned one.

    Args:
        models: models with their histories.
        term: a name of the logs, such as "w2" or "nll.image"; "loss" is their weighted sum. The picture shows its
            unweighted value over validation and training rows.
        out: a .png file.

    Returns:
        The path of the picture.

    Raises:
        UsageError: there are no models, a model does not have the term, or the path is wrong.
    """
    if not models:
        raise UsageError("plot: no runs whose terms could be drawn.")
    with styled():
        figure = term_curves(models, term)
        if out.suffix != ".png" or not os.path.isdir(out.parent):
            raise UsageError(f"--out {out}: expected a .png file in a folder that exists.")
        write(out, png(figure))
    return out


def term_curves(models: Sequence[FittedModel], term: str) -> Figure:
    """Draw one line per model over its validation rows, a thin one over its training rows, and the last value in the
    legend.

    Args:
        models: models with their histories.
        term: the name of the term.

    Returns:
        The figure.

    Raises:
        UsageError: a model does not have the term.
    """
    names = [model.title for model in models]
    if len(set(names)) < len(names):
        names = [model.name for model in models]
    figure = Figure(figsize=(5.2, 3.2 + 0.18 * len(models)), layout="constrained")
    ax = figure.subplots()
    rows = {model.about: None for model in models}
    for i, (model, name) in enumerate(zip(models, names)):
        lines = model.metrics
        values = {part: [_value(line, part, term) for line in lines] for part in ("valid", "train")}
        if all(value is None for value in values["valid"] + values["train"]):
            known = ["loss", *dict.fromkeys(term for line in lines for term in line["weights"])]
            raise UsageError(f"{model.name}: no term {term!r}; there are {', '.join(known)}.{suggest(term, known)}")
        colour = RUN_COLOURS[i % len(RUN_COLOURS)]
        last = [v for v in [*values["train"], *values["valid"]] if v is not None][-1]
        weight = lines[-1]["weights"].get(term)
        label = f"{last:.3g}{'' if weight is None else f' (weight {weight:.3g})'}: {quoted(name)}"
        label = textwrap.fill(label, LETTERS, subsequent_indent="    ")
        draw_curve(ax, lines, values["train"], color=colour, linewidth=0.8, linestyle=":")
        draw_curve(ax, lines, values["valid"], color=colour, linewidth=1.6, label=label)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.set_title(f"{quoted(term)} (unweighted)", loc="left")
    ax.set_xlabel("epoch")
    over_epochs(ax)
    title = "the last value on validation rows (dotted: training rows)"
    figure.legend(loc="outside upper left", title=title, alignment="left")
    caption(figure, " · ".join(rows))
    return figure


def _value(line: Mapping[str, Any], part: str, term: str) -> float | None:
    return line["loss"].get(part) if term == "loss" else line[part].get(term)


def draw_curve(ax: Axes, lines: Sequence[Mapping[str, Any]], curve: Sequence[float | None], **look: Any) -> None:
    """Draw a curve over epochs, without those in which it has no value.

    Args:
        ax: the axes.
        lines: the lines of the log.
        curve: one value per line, or None.
        look: options of `ax.plot`.
    """
    points = [(line["epoch"], y) for line, y in zip(lines, curve) if y is not None]
    if points:
        x, y = zip(*points)
        ax.plot(x, y, marker="." if len(x) < 3 else "", **look)


def over_epochs(ax: Axes) -> None:
    """Set up the axes for curves over epochs.

    Args:
        ax: the axes.
    """
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
