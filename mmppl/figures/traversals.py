"""Latent traversals: the decoded images along one axis of a latent at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from ..core.program import Program
from ..core.roles import class_label
from ..data.dataset import Dataset
from ..evaluation.conditioning import default_conditioning_sets, set_name
from ..evaluation.scores import gaussian_kl
from ..inference.decode import decode
from ..inference.questions.question import latent_sizes
from ..modalities.images import pixels
from ..modalities.modality import Modality
from .drawing import caption, example_rows, limits, mosaic, quoted
from .registry import Subject, figure

AXES = 8  # at most, of each latent
STEPS = np.linspace(-3, 3, 9)
MAX_ROWS = 1000  # rows over which the KLs are averaged
DRAWS = 64
CHANGES = 0.01  # a latent changes an image if some pixel changes by this share of its range
INCH = 0.44  # the width of an image


class Block(NamedTuple):
    """An image along the axes of a latent.

    Args:
        latent: the name of the latent.
        image: the image modality.
        ends: the values of black and white.
        axes: the numbers of the axes.
        kl: the KL of every axis, in nats.
        tables: one per centre, (axes, steps, H, W, channels).
        words: the texts for their corners.
    """

    latent: str
    image: Modality
    ends: tuple[float, float]  # black and white
    axes: np.ndarray
    kl: np.ndarray  # of every axis
    tables: list[np.ndarray]  # one around each centre, (axes, steps, H, W, channels)
    words: list[np.ndarray | None]  # for their corners


@figure("traversals", shows="images along single axes of the latents", absent="no image depends on a latent")
def traversals(subject: Subject, example: Dataset | None = None) -> Figure | None:
    """Draw, for every latent and every image that depends on it, a table of predictive means with one line per axis.

    The axes with the largest KL(answer ‖ N(0, 1)), from mean and sd and averaged over rows, go from −3 to 3, largest
    first. All other numbers stay at the mean of the answer to `example`, and in a second table at 0, the mean of the
    prior (not for a program with conditions, whose prior differs between rows). The corners show the class that the
    program predicts from the same latents.

    Args:
        subject: what is drawn.
        example: one row; None chooses one.

    Returns:
        The figure; None if no image depends on a latent.
    """
    model, rows, about = subject.model, subject.rows, subject.about
    if example is None:
        example = example_rows(model.program, rows, default_conditioning_sets(model.program)[-1], 1)
    program, given = model.program, default_conditioning_sets(model.program)[-1]
    images = [m for m in map(program.modality, program.targets()) if m.drawn == "image"]
    label = class_label(program)
    if label is not None and label.name not in program.targets():
        label = None
    sizes = latent_sizes(program, rows, given)
    some = rows.take(torch.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS)).long())
    ask: dict[str, Any] = dict(given=given, want=[*sizes], draws=DRAWS, split="all", quantiles=())
    answers, middle = model.query(some, **ask).want, model.query(example, **ask).want
    row = quoted(example.ids[0])
    centres = {f"around the answer to row {row}": {n: middle[n]["mean"].reshape(1, -1) for n in sizes}}
    if not program.conditions:
        centres["around the mean of the prior"] = {n: np.zeros((1, size)) for n, size in sizes.items()}
    blocks = []
    for name in sizes:
        kl = gaussian_kl(answers[name]["mean"], answers[name]["std"]).reshape(len(some), -1).mean(0)
        axes = np.argsort(-kl, kind="stable")[:AXES]
        found = [_along(program, example, name, axes, centre, images, label) for centre in centres.values()]
        words: list[np.ndarray | None] = [None] * len(found)
        if label is not None:
            words = [np.asarray(label.classes)[of[label.name].argmax(-1)] for of in found]
        for m in images:
            tables, ends = [pixels(m, of[m.name]) for of in found], limits(rows, m)
            if max(np.ptp(table, axis=1).max() for table in tables) > CHANGES * (ends[1] - ends[0]):
                blocks.append(Block(name, m, ends, axes, kl, tables, words))
    if not blocks:
        return None
    drawn = _drawn(blocks, list(centres))
    corners = f" · in the corners the {label.name} of the same latents" if label is not None else ""
    n = f"n = {len(some):,} of {len(rows):,}"
    caption(drawn, f"{about} · given {set_name(given)} · nats: KL of an axis to N(0, 1) over {n}{corners}")
    return drawn


def _along(
    program: Program,
    example: Dataset,
    name: str,
    axes: np.ndarray,
    centre: Mapping[str, np.ndarray],
    images: Sequence[Modality],
    label: Modality | None,
) -> dict[str, np.ndarray]:
    """Return name → (axes, steps, *shape) means, or probabilities for the label. One number of the latent takes each
    step in turn, and everything else stays at the centre, (1, D) for each latent."""
    grid = {n: np.repeat(value, len(axes) * len(STEPS), 0) for n, value in centre.items()}
    for line, axis in enumerate(axes):
        grid[name][line * len(STEPS) : (line + 1) * len(STEPS), axis] = STEPS
    want = [*images, *([label] if label is not None else [])]
    many = example.take(torch.zeros(len(axes) * len(STEPS), dtype=torch.int64))
    found = decode(program, many, grid, [m.name for m in want])
    shown = {m.name: found[m.name]["prob" if m.family.values == "classes" else "mean"] for m in want}
    return {n: x.reshape(len(axes), len(STEPS), *x.shape[1:]) for n, x in shown.items()}


def _drawn(blocks: Sequence[Block], titles: Sequence[str]) -> Figure:
    """Draw the blocks below each other, with their tables side by side."""
    heights = [INCH * len(b.axes) * b.tables[0].shape[2] / b.tables[0].shape[3] + 0.75 for b in blocks]
    size = (INCH * len(STEPS) * len(titles) + 1.3, sum(heights) + 0.3)
    drawn = Figure(figsize=size, layout="constrained")
    parts = drawn.subfigures(len(blocks), 1, squeeze=False, height_ratios=heights).ravel()
    for part, block in zip(parts, blocks):
        part.suptitle(f"{quoted(block.image.name)} along the axes of {quoted(block.latent)}, most KL first", fontsize=9)
        names = [f"{axis}: {block.kl[axis]:.2g} nats" for axis in block.axes]
        steps = [f"{step:.3g}".replace("-", "−") for step in STEPS]
        for i, ax in enumerate(part.subplots(1, len(titles), squeeze=False).ravel()):
            mosaic(ax, block.tables[i], block.ends, names if not i else (), steps, block.words[i])
            ax.set_title(titles[i])
    return drawn
