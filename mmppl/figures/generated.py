"""Figures of what a run generates and reconstructs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from ..data.dataset import Dataset
from ..evaluation.conditioning import default_conditioning_sets, set_name
from .drawing import caption, draw_prediction, examples, limits, picture, row_name, show, truth

if TYPE_CHECKING:
    from ..runs.run import Run

SAMPLES = 8


DRAWS = 64


CHOICE = "a first row of each class, complete rows before others"


def _generated(run: Run, rows: Dataset, about: str) -> Figure | None:
    """One line per row: what is given | of all else the truth, the predictive mean and its sd or 90 % band; None where
    there is nothing else."""
    program = run.program
    given = default_conditioning_sets(program)[0]
    test = examples(program, rows, given, SAMPLES)
    made = [m for m in program.modalities if m.name not in given and m.name not in program.conditions]
    if not made:
        return None
    answer = run.query(test, given=given, want=[m.name for m in made], draws=DRAWS, split="all").want
    columns = [(program.modality(name), "given") for name in given]
    for m in made:
        columns += [(m, part) for part in (("true", "mean", "sd") if m.drawn == "image" else ("both",))]
    widths = [3.0 if m.drawn == "curve" else 1.0 for m, _ in columns]
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
                draw_prediction(ax, m, true[i], {key: x[i] for key, x in answer[m.name].items() if key != "classes"})
            if m.drawn == "curve" and i < len(test) - 1:
                ax.tick_params(labelbottom=False)
        if m.drawn == "curve":
            column[-1].set_xlabel("feature")
            if part == "both":
                column[0].legend(fontsize=6, loc="upper right", ncols=3)
        column[0].set_title(title)
    caption(figure, f"{about} · n = {len(test)} · {CHOICE} · {DRAWS} draws")
    return figure


def _reconstructions(run: Run, rows: Dataset, about: str) -> Figure | None:
    """Per image modality: the truth, and the predictive mean from each conditioning set; None without images."""
    program = run.program
    images = [m for m in program.modalities if m.drawn == "image" and m.name not in program.conditions]
    if not images:
        return None
    sets = default_conditioning_sets(program)
    if program.conditions:
        sets.append(tuple(n for n in program.encoded if program.modality(n).role == "modality"))
    test = examples(program, rows, sets[-1], SAMPLES)
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
