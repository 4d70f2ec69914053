"""Pictures of a run: its losses, what it generates, what it reconstructs from each given-set, its latent space, and
whether classes agree by what is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .checkpoint import write
from .coherence import coherence, judge_accuracy, judges, unhidden
from .data import Dataset
from .embedding import embedding
from .errors import DataError, MMPPLError, UsageError
from .given import askable, class_label, default_given_sets, generates, set_name
from .panels import (
    BLUE,
    ORANGE,
    caption,
    class_codes,
    compare,
    heat_map,
    is_image,
    is_vector,
    limits,
    picture,
    row_name,
    show,
    truth,
)  # fmt: skip
from .probes import probes
from .program import Program

if TYPE_CHECKING:
    from .runs import Run

SAMPLES = 8
DRAWS = 64
CHOICE = "a first row of each class, complete rows before others"
MOST_JUDGED = 2000  # rows
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "figure.dpi": 150,
    "savefig.dpi": 150,
}


def plot(run: Run, data: Any = None, *, root: Any = None, say: Callable[[str], None] | None = None) -> list[Path]:
    """Write RUN/figures/*.png: loss, generated, reconstructions (where there are images), latent, and coherence where
    judges of these data are kept (`mmppl evaluate RUN --metric coherence` trains them; nothing is trained here).

    Args:
        data: what `mmppl.read` takes, for all but the losses; None: the data of the fit. Its test rows are shown, or
            all if it has none. If the data of the fit cannot be read again, only the losses are drawn.
        say: hears one line per figure.
    Returns: the paths of what was written.
    Raises: DataError when RUN/figures is not a folder of the run's own.
    """
    hear = say or (lambda line: None)
    folder = run.path / "figures"
    if folder.is_symlink() or folder.is_file():
        raise DataError(f"{folder}: a link or a file, and the figures want a folder of the run's own. Remove it.")
    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figures: dict[str, Figure | None] = {"loss": _losses(run)}
        try:
            dataset = run.dataset(data, root=root)
        except MMPPLError as error:
            if data is not None:
                raise
            hear(f"only the losses are drawn: {error}")
        else:
            split: Literal["test", "all"] = "test" if len(dataset.rows("test")) else "all"
            rows, _ = askable(run.program, dataset, split)
            about = f"run {run.path.name} · {dataset.name} · {split} rows"
            figures["generated"] = _generated(run, rows, about)
            figures["reconstructions"] = _reconstructions(run, rows, about)
            figures["latent"] = embedding(run, rows, about)
            train = dataset.take(dataset.rows("train"))
            taught = train if data is not None else unhidden(run, train, root)
            figures["coherence"] = _coherence(run, rows, train, taught, about, hear)
        paths = []
        for name, figure in figures.items():
            if figure is not None:
                paths.append(folder / f"{name}.png")
                image = BytesIO()
                figure.savefig(image, format="png")
                write(paths[-1], image.getvalue())
                hear(f"{paths[-1]}")
    return paths


def _losses(run: Run) -> Figure:
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
            points = [(line["epoch"], y) for line, y in zip(lines, curve) if y is not None]
            if points:
                x, y = zip(*points)
                colour, dash, title = (BLUE, "-", "train") if part == "train" else (ORANGE, "--", "validation")
                ax.plot(x, y, dash, color=colour, label=title, marker="." if len(x) < 3 else "")
        ax.set_title(name, loc="left")
        ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(panels) - columns) : len(panels)]:
        ax.set_xlabel("epoch")
    axes[0].set_ylabel("nats per row")
    axes[0].legend()
    data = run.info["data"]
    caption(figure, f"run {run.path.name} · {data['spec'] or 'arrays'} · n = {data['n']:,} rows, all parts")
    return figure


def _generated(run: Run, rows: Dataset, about: str) -> Figure | None:
    """One line per row: what is given | of all else the truth, the predictive mean and its sd or 90 % band; None where
    there is nothing else."""
    program = run.program
    given = default_given_sets(program)[0]
    test = _examples(program, rows, given)
    made = [m for m in program.modalities if m.name not in given and m.name not in program.conditions]
    if not made:
        return None
    answer = run.query(test, given=given, want=[m.name for m in made], draws=DRAWS, split="all").want
    columns = [(program.modality(name), "given") for name in given]
    for m in made:
        columns += [(m, part) for part in (("true", "mean", "sd") if is_image(m) else ("both",))]
    widths = [3.0 if is_vector(m) else 1.0 for m, _ in columns]
    figure = Figure(figsize=(1.05 * sum(widths) + 0.6, len(test) + 0.8), layout="constrained")
    axes = figure.subplots(len(test), len(columns), squeeze=False, width_ratios=widths)
    for (m, part), column in zip(columns, axes.T):
        true, ends = truth(test, m), limits(test, m)
        title = {"mean": f"generated\n{m.name} (mean)", "both": f"generated\n{m.name}"}.get(part, f"{part}\n{m.name}")
        if part == "sd":
            spread = answer[m.name]["std"]
            ends = float(spread.min()), float(spread.max())
            title = f"sd, {ends[0]:.2g} (blue)\nto {ends[1]:.2g} (yellow)"
        for i, ax in enumerate(column):
            if part in ("given", "true"):
                show(ax, m, true[i], ends)
            elif part == "mean":
                picture(ax, answer[m.name]["mean"][i], ends)
            elif part == "sd":
                picture(ax, spread[i], ends, "cividis")
            else:
                compare(ax, m, true[i], {key: x[i] for key, x in answer[m.name].items() if key != "classes"})
            if is_vector(m) and i < len(test) - 1:
                ax.tick_params(labelbottom=False)
        if is_vector(m):
            column[-1].set_xlabel("feature")
            if part == "both":
                column[0].legend(fontsize=6, loc="upper right", ncols=3)
        column[0].set_title(title)
    caption(figure, f"{about} · n = {len(test)} · {CHOICE} · {DRAWS} draws")
    return figure


def _reconstructions(run: Run, rows: Dataset, about: str) -> Figure | None:
    """Per image modality: the truth, and the predictive mean from each given-set; None without images."""
    program = run.program
    images = [m for m in program.modalities if is_image(m) and m.name not in program.conditions]
    if not images:
        return None
    sets = default_given_sets(program)
    if program.conditions:
        sets.append(tuple(n for n in program.encoded if program.modality(n).role == "modality"))
    test = _examples(program, rows, sets[-1])
    height = (0.8 * (len(sets) + 1) + 0.3) * len(images) + 0.4
    figure = Figure(figsize=(0.8 * len(test) + 1.4, height), layout="constrained")
    blocks = figure.subfigures(len(images), 1, squeeze=False).ravel()
    for block, m in zip(blocks, images):
        axes = block.subplots(len(sets) + 1, len(test), squeeze=False)
        true, ends = truth(test, m), limits(test, m)
        block.suptitle(f"{m.name}: the truth, and the predictive mean by what is given", fontsize=9)
        for ax, value in zip(axes[0], true):
            show(ax, m, value, ends)
        row_name(axes[0][0], "truth")
        for given, line in zip(sets, axes[1:]):
            mean = run.query(test, given=given, want=[m.name], draws=DRAWS, split="all").want[m.name]["mean"]
            for ax, value in zip(line, mean):
                picture(ax, value, ends)
            row_name(line[0], set_name(given).replace("+", "\n+ "))
    caption(figure, f"{about} · n = {len(test)} · {CHOICE} · {DRAWS} draws")
    return figure


def _coherence(
    run: Run, rows: Dataset, train: Dataset, taught: Dataset, about: str, hear: Callable[[str], None]
) -> Figure | None:
    """Given-set × what is judged: of each modality the coherence, of the latent a linear probe's accuracy; None where
    no judge is kept.

    Args:
        taught: train rows of the judges.
    """
    program, label = run.program, class_label(run.program)
    if label is None:
        return None
    bench = judges(program, generates(program), label, taught, fresh=False)
    if not bench:
        hear(f"no coherence is drawn: mmppl evaluate {run.path} --metric coherence trains its judges")
        return None
    test = rows.take(torch.linspace(0, len(rows) - 1, min(len(rows), MOST_JUDGED)).long())
    sets, probe = default_given_sets(program), f"probe500.{label.name}"
    shares = np.full((len(sets), 1 + len(bench)), np.nan)
    for line, given in zip(shares, sets):
        with suppress(UsageError):  # a program whose latents have other names
            line[0] = probes(run, train, test, given, [label], [probe]).get(probe, np.nan)
        found = coherence(run, test, given, {n: judge for n, judge in bench.items() if n not in given}, label)
        line[1:] = [found.get(name, np.nan) for name in bench]
    best = judge_accuracy(program, test, bench, label)
    names = [f"{label.name}, by a linear\nprobe of z"]
    names += [f"{name}\n(judge: {best[name]:.1%})" if name in best else name for name in bench]
    figure = Figure(figsize=(1.15 * len(names) + 2.2, 0.42 * len(sets) + 1.5), layout="constrained")
    ax = figure.subplots()
    heat_map(ax, shares, [set_name(given) for given in sets], names)
    ax.set_title(f"rows (%) whose {label.name} is found in what is generated", loc="left")
    caption(
        figure,
        f"{about} · n = {len(test):,} of {len(rows):,} · one draw of z per row · judge: on real values · empty: given",
    )
    return figure


def _examples(program: Program, rows: Dataset, given: Sequence[str]) -> Dataset:
    """`SAMPLES` rows: a first one of each class, then a second one, taking before others those that have all that is
    given, and of these those that miss least."""
    missing, lacks = (
        torch.stack([~rows.observed[name] for name in names]).sum(0).numpy() for names in (rows.observed, given)
    )
    codes = class_codes(rows, class_label(program))
    order = np.lexsort((missing, lacks))
    turn = np.zeros(len(rows), int)
    for code in np.unique(codes):
        own = order[codes[order] == code]
        turn[own] = np.arange(len(own))
    return rows.take(torch.from_numpy(np.lexsort((codes, turn))[:SAMPLES]))
