"""Pictures of a run: its losses, what it generates, what it reconstructs from each given-set, its latent space, single
axes of it, styles, and whether classes agree by what is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from ..data.dataset import Dataset
from ..errors import MMPPLError, UsageError, suggest
from ..evaluation.coherence import coherence, judge_accuracy, judges, unhidden
from ..evaluation.conditioning import askable, class_label, default_given_sets, generates, set_name
from ..evaluation.latent import probes
from ..runs.storage import figures_folder
from ..train.checkpoint import write
from .drawing import (
    STYLE,
    caption,
    compare,
    examples,
    heat_map,
    is_image,
    is_vector,
    limits,
    picture,
    png,
    row_name,
    show,
    truth,
)
from .latent_space import embedding
from .style_transfer import swaps
from .training_curves import losses
from .traversals import traversals

if TYPE_CHECKING:
    from ..runs.run import Run

SAMPLES = 8
DRAWS = 64
CHOICE = "a first row of each class, complete rows before others"
MOST_JUDGED = 2000  # rows
FIGURES = {  # name → what it shows, why a run may not have it
    "loss": ("the loss, its terms and validation metrics over the epochs", ""),
    "generated": (
        "what is given, the truth, and the predictive mean and spread of all else",
        "nothing is left to generate",
    ),
    "reconstructions": ("images beside their predictive means by what is given", "the program generates no images"),
    "latent": ("t-SNE of z by what is given", "no latent z, or less than five rows"),
    "traversals": ("images along single axes of the latents", "no image that a latent moves"),
    "styles": ("images of every content in every style", "no image has a private latent beside z"),
    "coherence": (
        "whether generated modalities are of the right class",
        "no judge is kept; mmppl evaluate RUN --metric coherence trains them",
    ),
}


def plot(
    run: Run,
    data: Any = None,
    *,
    figures: Sequence[str] | None = None,
    root: Any = None,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write RUN/figures/*.png; see `FIGURES`. Nothing is trained: coherence is drawn where the judges of these data are
    kept (`mmppl evaluate RUN --metric coherence` trains them).

    Args:
        data: what `mmppl.read` takes, for all but the losses; None: the data of the fit. Its test rows are shown, or
            all if it has none. If the data of the fit cannot be read again, only the losses are drawn.
        figures: names of `FIGURES`, each of which must be possible; None: those that are.
        say: hears one line per figure.
    Returns: the paths of what was written.
    Raises: UsageError for a name that is none, or of a figure that this run has not; DataError when RUN/figures is not
        a folder of the run's own.
    """
    hear = say or (lambda line: None)
    for name in figures or ():
        if name not in FIGURES:
            raise UsageError(f"no figure {name!r}; there are {', '.join(FIGURES)}.{suggest(name, list(FIGURES))}")
    folder = figures_folder(run.path)
    made: dict[str, Callable[[], Figure | None]] = {"loss": lambda: losses(run)}
    if figures is None or set(figures) != {"loss"}:
        try:
            dataset = run.dataset(data, root=root)
        except MMPPLError as error:
            if data is not None or figures is not None:
                raise
            hear(f"only the losses are drawn: {error}")
        else:
            made |= _of_rows(run, dataset, root, data is None, hear)
    paths = []
    with matplotlib.rc_context(STYLE):
        for name in FIGURES if figures is None else dict.fromkeys(figures):
            figure = made[name]() if name in made else None
            if figure is None:
                if figures is not None:
                    raise UsageError(f"{run.path}: no figure {name}: {FIGURES[name][1]}.")
                continue
            paths.append(folder / f"{name}.png")
            write(paths[-1], png(figure))
            hear(f"{paths[-1]}")
    return paths


def _of_rows(
    run: Run, dataset: Dataset, root: Any, of_fit: bool, hear: Callable[[str], None]
) -> dict[str, Callable[[], Figure | None]]:
    """name → what draws the figure, or finds that there is none."""
    program = run.program
    split: Literal["test", "all"] = "test" if len(dataset.rows("test")) else "all"
    rows, _ = askable(program, dataset, split)
    changed = "".join(f" · {name}={value}" for name, value in run.set.items())
    about = f"run {run.path.name}{changed} · {dataset.name} · {split} rows"
    example = examples(program, rows, default_given_sets(program)[-1], 1)
    return {
        "generated": lambda: _generated(run, rows, about),
        "reconstructions": lambda: _reconstructions(run, rows, about),
        "latent": lambda: embedding(run, rows, about),
        "traversals": lambda: traversals(run, rows, example, about),
        "styles": lambda: swaps(run, rows, about),
        "coherence": lambda: _coherence(run, dataset, rows, root, of_fit, about, hear),
    }


def _generated(run: Run, rows: Dataset, about: str) -> Figure | None:
    """One line per row: what is given | of all else the truth, the predictive mean and its sd or 90 % band; None where
    there is nothing else."""
    program = run.program
    given = default_given_sets(program)[0]
    test = examples(program, rows, given, SAMPLES)
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


def _coherence(
    run: Run, dataset: Dataset, rows: Dataset, root: Any, of_fit: bool, about: str, hear: Callable[[str], None]
) -> Figure | None:
    """Given-set × what is judged: of each modality the coherence, of the latent a linear probe's accuracy; None where
    no judge is kept.

    Args:
        of_fit: the data are those of the fit: judges know what it hid.
    """
    program, label = run.program, class_label(run.program)
    if label is None:
        return None
    train = dataset.take(dataset.rows("train"))
    taught = unhidden(run, train, root) if of_fit else train
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
