"""How well a program's critic tells rows from rows whose modalities come from different rows, and which rows it takes
for the most and the least aligned: as a picture and as a page."""

from __future__ import annotations

import textwrap
from html import escape
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import rankdata

from ..base.random import generator
from ..base.text import printable
from ..base.turns import turn
from .drawing import BLUE, ORANGE, caption, quoted
from .registry import Subject, figure

TEXT = "transcript"  # an annotation
TOGETHER = 512  # rows among which modalities are permuted
BINS = 40
MOST = {"picture": 4, "page": 15}  # rows at either end
LETTERS = 110  # of a text in the picture


class Scores(NamedTuple):
    """The critic's output T of n rows that have two modalities.

    Args:
        rows: (n,) numbers of the rows among those that are shown.
        aligned: (n,) T of each.
        permuted: (n,) T of rows put together of the modalities of others.
    """

    rows: np.ndarray
    aligned: np.ndarray
    permuted: np.ndarray


def page(subject: Subject) -> str | None:
    """Write the rows of the highest and the lowest scores as a page of HTML, which loads nothing.

    Args:
        subject: what is shown.

    Returns:
        The page; None as for the figure.
    """
    if (scores := _scores(subject)) is None:
        return None
    body = []
    for title, chosen in _ends(scores, MOST["page"]):
        lines = "".join(
            f"<tr><td>{scores.aligned[i]:.3f}<td>{escape(name)}<td>{escape(text)}"
            for i, name, text in _named(subject, scores, chosen)
        )
        body.append(f"<h2>{title}</h2><table><tr><th>score<th>row<th>{TEXT if _texts(subject) else ''}{lines}</table>")
    about = escape(printable(subject.about))
    style = "body{font:15px/1.4 sans-serif;margin:2em}td,th{text-align:left;padding:.1em .8em .1em 0}small{color:#777}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{about}</title><style>{style}</style>'
        f"<body><h1>Rows by the critic's score</h1><p>{_verdict(scores)}</p>{''.join(body)}"
        f"<p><small>{about}</small></p></body></html>\n"
    )


@figure(
    "dependence",
    shows="the critic's scores of rows, and of rows put together at random",
    absent="no critic, or no row with two modalities",
    page=page,
)
def dependence(subject: Subject) -> Figure | None:
    """Draw two histograms of the critic's scores, of rows and of rows whose modalities come from different rows; below,
    the rows of the highest and the lowest scores by their ids, with the annotation "transcript" where there is one.

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if the program has no critic, or no row has two modalities.

    Source: Colombo et al. 2021, arXiv:2109.00922, section 5.4, which explains samples by the critic.
    """
    if (scores := _scores(subject)) is None:
        return None
    drawn = Figure(figsize=(7.0, 4.6), layout="constrained")
    above, below = drawn.subplots(2, 1, height_ratios=(1.3, 1))
    both = np.concatenate([scores.aligned, scores.permuted])
    edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-6), BINS + 1)
    for values, colour, label in ((scores.aligned, BLUE, "rows"), (scores.permuted, ORANGE, "rows put together")):
        above.hist(values, edges, histtype="stepfilled", alpha=0.5, color=colour, label=label)
    above.set(xlabel="score", ylabel="rows")
    above.legend()
    below.axis("off")
    lines = []
    for title, chosen in _ends(scores, MOST["picture"]):
        lines.append(title)
        for i, name, text in _named(subject, scores, chosen):
            lines.append(quoted(textwrap.shorten(f"   {scores.aligned[i]:.3f}  {name}  {text}", LETTERS)))
    below.text(0, 1, "\n".join(lines), va="top", fontsize=6.5, transform=below.transAxes)
    caption(drawn, f"{subject.about} · {_verdict(scores)} · n = {len(scores.rows):,}")
    return drawn


def _scores(subject: Subject) -> Scores | None:
    """The scores, whose permuted rows are the same at each call; None without a critic or without rows."""
    program, rows = subject.model.program, subject.rows
    order = torch.randperm(len(rows), generator=generator(0, "dependence"))  # neighbours may be of one recording
    found = []
    with turn(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        for some in order.split(TOGETHER):
            batch = rows.batch(some, program.encoded)
            if (scores := program.dependence_scores(batch)) is None:
                return None
            aligned, permuted, counts = (x.cpu() for x in scores)
            found.append((some[counts], aligned[counts], permuted[counts]))
    parts = [torch.cat(part).numpy() for part in zip(*found)]
    return Scores(*parts) if parts and len(parts[0]) else None


def _verdict(scores: Scores) -> str:
    """How often the critic ranks a row above a row put together: the area under the ROC curve."""
    ranks = rankdata(np.concatenate([scores.aligned, scores.permuted]))  # of equal scores each has the mean
    n = len(scores.aligned)
    area = (ranks[:n].sum() - n * (n + 1) / 2) / n**2
    return f"a row scores above a row put together in {100 * area:.0f} % of pairs"


def _ends(scores: Scores, most: int) -> list[tuple[str, np.ndarray]]:
    """A title, and places in the scores, from the outermost on; no row is at both ends."""
    order = np.argsort(scores.aligned, kind="stable")
    most = min(most, len(order) // 2)
    return [("Highest scores", order[::-1][:most]), ("Lowest scores", order[:most])]


def _texts(subject: Subject) -> bool:
    return TEXT in subject.rows.annotations


def _named(subject: Subject, scores: Scores, chosen: np.ndarray) -> list[tuple[int, str, str]]:
    """Of each place: itself, the id of its row, and its text, "" where there is none."""
    rows = subject.rows
    texts = rows.annotations.get(TEXT, np.full(len(rows), ""))
    return [(int(i), printable(rows.ids[scores.rows[i]]), printable(texts[scores.rows[i]])) for i in chosen]
