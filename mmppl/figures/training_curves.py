"""Curves over the epochs of a fit: all terms of a run, or one term of several runs in one picture."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..base.files import write
from ..errors import UsageError, suggest
from ..runs.record import data_told
from ..runs.storage import figures_folder
from .drawing import BLUE, ORANGE, STYLE, caption, png

if TYPE_CHECKING:
    from ..runs.run import Run

RUN_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito
LETTERS = 74  # in a line of a legend


def losses(run: Run) -> Figure:
    """Small multiples over epochs: the loss, each term (unweighted), each validation metric."""
    lines, last = run.metrics, run.metrics[-1]
    panels = {"loss": {part: [line["loss"][part] for line in lines] for part in ("train", "valid")}}
    for term, weight in last["weights"].items():
        name = f"{term}  (weight {weight:.3g})"
        panels[name] = {part: [line[part].get(term) for line in lines] for part in ("train", "valid")}
    for metric in last["metrics"]:
        panels[f"{metric}  (validation)"] = {"valid": [line["metrics"].get(metric) for line in lines]}
    columns = min(4, len(panels))
    deep = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.6 * columns, 1.9 * deep + 0.4), layout="constrained")
    axes = figure.subplots(deep, columns, squeeze=False).ravel()
    for ax, (name, curves) in zip(axes, panels.items()):
        for part, curve in curves.items():
            colour, dash, title = (BLUE, "-", "train") if part == "train" else (ORANGE, "--", "validation")
            _line(ax, lines, curve, color=colour, linestyle=dash, label=title)
        ax.set_title(name, loc="left")
        _over_epochs(ax)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(panels) - columns) : len(panels)]:
        ax.set_xlabel("epoch")
    axes[0].set_ylabel("nats per row")
    axes[0].legend()
    caption(figure, f"run {run.path.name} · {data_told(run.info)} · n = {run.info['data']['n']:,} rows, all parts")
    return figure


def plot_term(runs: Sequence[Run], term: str, out: str | Path | None = None) -> Path:
    """One picture of a term over the epochs of several runs, such as w2 of an aligned and an unaligned one.

    Args:
        term: a name of the logs, "w2" or "nll.image"; "loss" is their weighted sum. Drawn is its value, without its
            weight, over validation and training rows.
        out: a .png file; None: FIRST RUN/figures/term.TERM.png.
    Returns: the path of the picture.
    Raises: UsageError for no runs, a term that a run has not, or a place that cannot be one.
    """
    if not runs:
        raise UsageError("plot: no runs whose terms could be drawn.")
    with matplotlib.rc_context(STYLE):
        figure = term_curves(runs, term)
        path = figures_folder(runs[0].path) / f"term.{term}.png" if out is None else Path(out)
        if path.suffix != ".png" or not path.parent.is_dir():
            raise UsageError(f"--out {path}: expected a .png file in a folder that exists.")
        write(path, png(figure))
    return path


def term_curves(runs: Sequence[Run], term: str) -> Figure:
    """A line per run over its validation rows, a thin one over its training rows, and its last value beside."""
    names = [run.path.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    figure = Figure(figsize=(5.2, 3.2 + 0.18 * len(runs)), layout="constrained")
    ax = figure.subplots()
    rows = {f"{data_told(run.info)}, n = {run.info['data']['n']:,}": None for run in runs}
    for i, (run, name) in enumerate(zip(runs, names)):
        lines = run.metrics
        values = {part: [_value(line, part, term) for line in lines] for part in ("valid", "train")}
        if all(value is None for value in values["valid"] + values["train"]):
            known = ["loss", *lines[-1]["weights"]]
            raise UsageError(f"{run.path}: no term {term!r}; there are {', '.join(known)}.{suggest(term, known)}")
        colour = RUN_COLOURS[i % len(RUN_COLOURS)]
        last = [v for v in [*values["train"], *values["valid"]] if v is not None][-1]
        weight = lines[-1]["weights"].get(term)
        label = f"{last:.3g}{'' if weight is None else f' (weight {weight:.3g})'}: {name}"
        label = textwrap.fill(label, LETTERS, subsequent_indent="    ")
        _line(ax, lines, values["train"], color=colour, linewidth=0.8, linestyle=":")
        _line(ax, lines, values["valid"], color=colour, linewidth=1.6, label=label)
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.set_title(f"{term} (unweighted)", loc="left")
    ax.set_xlabel("epoch")
    _over_epochs(ax)
    title = "the last value on validation rows (dotted: training rows)"
    figure.legend(loc="outside upper left", title=title, alignment="left")
    caption(figure, " · ".join(rows))
    return figure


def _value(line: dict[str, Any], part: str, term: str) -> float | None:
    return line["loss"].get(part) if term == "loss" else line[part].get(term)


def _line(ax: Axes, lines: Sequence[dict[str, Any]], curve: Sequence[float | None], **look: Any) -> None:
    """A curve over the epochs of the log's lines, without those where it has no value."""
    points = [(line["epoch"], y) for line, y in zip(lines, curve) if y is not None]
    if points:
        x, y = zip(*points)
        ax.plot(x, y, marker="." if len(x) < 3 else "", **look)


def _over_epochs(ax: Axes) -> None:
    ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
