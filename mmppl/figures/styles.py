"""Style transfer: images with the content of one row and the style of another, for programs with latents for both."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from ..core.roles import class_label
from ..data.dataset import Dataset
from ..inference.decode import decode
from ..inference.fitted import FittedModel
from ..inference.questions.question import latent_sizes
from ..modalities.images import pixels
from ..modalities.modality import Modality
from .drawing import caption, class_codes, example_rows, limits, mosaic, quoted, true_values
from .registry import Subject, figure

STYLES, CONTENTS = 8, 10  # at most
DRAWS = 64
INCH = 0.5  # the width of an image


@figure("styles", shows="images of every content in every style", absent="no image has a private latent beside z")
def style_transfer(subject: Subject) -> Figure | None:
    """Draw images with a line per style and a column per content, for every image with a private latent (`private.NAME`
    beside `z`).

    A style is the mean of the private latent given the image on the left. A content is the mean of z given a class, if
    the guide sees the label, and in a second table given the image above.

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if no image has a private latent.
    """
    model, rows, about = subject.model, subject.rows, subject.about
    program, label = model.program, class_label(model.program)
    images = [m for m in map(program.modality, program.targets()) if m.drawn == "image" and m.name in program.encoded]
    images = [m for m in images if {"z", f"private.{m.name}"} <= set(latent_sizes(program, rows, [m.name]))]
    blocks: list[dict[str, np.ndarray]] = []
    for m in images:
        chosen = _having(m, example_rows(program, rows, [m.name], STYLES + CONTENTS))
        styles, others = (chosen.take(torch.arange(len(chosen))[part]) for part in (slice(STYLES), slice(STYLES, None)))
        others = others.take(torch.from_numpy(np.argsort(class_codes(others, label), kind="stable")))
        tables = {}
        if label is not None and label.name in program.encoded:
            classes = _having(label, example_rows(program, rows, [label.name], CONTENTS))
            tables[label.name] = _table(model, m, styles, classes, label)
        if len(others):
            tables[m.name] = _table(model, m, styles, others, m)
        blocks.append(tables)
    if not any(blocks):
        return None
    side = max(len(table[0]) for tables in blocks for table in tables.values())
    deep = sum(max(len(table) for table in tables.values()) + 1.2 for tables in blocks)
    across = max(len(tables) for tables in blocks)
    drawn = Figure(figsize=(INCH * side * across + 0.6, INCH * deep + 0.4), layout="constrained")
    parts = drawn.subfigures(len(blocks), 1, squeeze=False).ravel()
    for part, m, tables in zip(parts, images, blocks):
        part.suptitle(f"{quoted(m.name)}: each line in the style of the one on the left", fontsize=9)
        for ax, (source, table) in zip(part.subplots(1, across, squeeze=False).ravel(), tables.items()):
            names = ["style", "", *_names(label)] if label is not None and source == label.name else ["style"]
            mosaic(ax, table, limits(rows, m), (), names)
            ax.set_anchor("S")  # aligns the lines of both tables
            ax.set_title(f"content: z given the {quoted(source)}{' above' if source == m.name else ''}")
    caption(drawn, f"{about} · means of z and of the private latents over {DRAWS} draws · first rows of each class")
    return drawn


def _table(model: FittedModel, m: Modality, styles: Dataset, contents: Dataset, source: Modality) -> np.ndarray:
    """Return images (1 + 1 + styles, 1 + 1 + contents, H, W, channels): contents above, styles on the left, an empty
    line and column, and the predictive means. There is no line of contents if these are classes."""
    private = f"private.{m.name}"
    ask: dict[str, Any] = dict(draws=DRAWS, split="all", quantiles=())
    style = model.query(styles, given=[m.name], want=[private], **ask).want[private]["mean"]
    z = model.query(contents, given=[source.name], want=["z"], **ask).want["z"]["mean"]
    lines, columns = np.indices((len(styles), len(contents))).reshape(2, -1)
    many = styles.take(torch.from_numpy(lines))
    made = decode(model.program, many, {private: style[lines], "z": z[columns]}, [m.name])[m.name]["mean"]
    table = np.full((2 + len(styles), 2 + len(contents), *pixels(m, made).shape[1:]), np.nan)
    table[2:, 2:] = pixels(m, made.reshape(len(styles), len(contents), *m.shape))
    table[2:, 0] = pixels(m, np.stack(true_values(styles, m)))
    if source.name != m.name:
        return table[2:]
    table[0, 2:] = pixels(m, np.stack(true_values(contents, m)))
    return table


def _having(m: Modality, rows: Dataset) -> Dataset:
    return rows.take(rows.observed[m.name].nonzero().squeeze(-1))


def _names(label: Modality) -> list[str]:
    return [quoted(name) for name in (label.classes or ())[:CONTENTS]]
