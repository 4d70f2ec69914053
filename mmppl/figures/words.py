"""The words of some utterances, shaded by how far a program trusts them, as a picture and as a page."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ..base.text import printable
from ..evaluation.metrics.importance import QUANTITY
from .drawing import caption, quoted
from .registry import Subject, figure

UTTERANCE, TOKEN, MODALITY = "utterance", "token", "word"  # two annotations, and whose importances are shown
MOST = 8  # utterances, those with the most different importances,
LETTERS = 115  # in a line of the picture,
LONGEST = 60  # and words of each utterance
COLOURS = "Blues"


class Line(NamedTuple):
    """An utterance.

    Args:
        name: its name.
        words: its tokens, in the order of the rows; rows of one token that follow each other are its pairs.
        values: (n,) the mean importance of each over its pairs.
    """

    name: str
    words: list[str]
    values: np.ndarray


def page(subject: Subject) -> str | None:
    """Write the utterances as a page of HTML, which loads nothing.

    Args:
        subject: what is shown.

    Returns:
        The page; None as for the figure.
    """
    if not (lines := _lines(subject)):
        return None
    body = []
    for line in lines:
        words = " ".join(
            f'<span style="background:{back};color:{fore}" title="{value:.3f}">{escape(printable(word))}</span>'
            for word, value, (back, fore) in zip(line.words, line.values, _shades(line.values))
        )
        body.append(f"<p><small>{escape(printable(line.name))}</small><br>{words}</p>")
    about = escape(printable(subject.about))
    style = "body{font:16px/2 sans-serif;margin:2em}span{padding:.1em .3em;border-radius:.2em}small{color:#777}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{about}</title><style>{style}</style>'
        f"<body><h1>Words by importance</h1>{''.join(body)}<p><small>{about}</small></p></body></html>\n"
    )


@figure(
    "words",
    shows="words of utterances by importance",
    absent=f"no importances of a modality {MODALITY}, or no annotations {UTTERANCE} and {TOKEN}",
    page=page,
)
def words(subject: Subject) -> Figure | None:
    """Draw the words of the utterances whose importances differ most, darker where the program trusts them more.

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if the program does not weigh a modality "word", or the data lack the annotations "utterance"
        and "token".

    Source: "Importance-based Multimodal Autoencoder" (ICLR 2021 submission), Figure 3.
    """
    if not (lines := _lines(subject)):
        return None
    wrapped = [_wrapped(line) for line in lines]
    deep = sum(len(rows) + 1 for rows in wrapped)
    drawn = Figure(figsize=(8.0, 0.3 * deep + 0.5), layout="constrained")
    ax = drawn.subplots()
    ax.set(xlim=(0, LETTERS + 2), ylim=(deep, 0))
    ax.axis("off")
    down = 0.5
    for line, rows in zip(lines, wrapped):
        ax.text(0, down, quoted(line.name), fontsize=6, color="#777777", va="center")
        shades = _shades(line.values)
        for row in rows:
            down += 1
            for at, i in row:
                back, fore = shades[i]
                box = {"facecolor": back, "edgecolor": "none", "boxstyle": "round,pad=0.25"}
                word = quoted(line.words[i])
                ax.text(at, down, word, family="monospace", fontsize=7.5, va="center", bbox=box, color=fore)
        down += 1
    caption(drawn, f"{subject.about} · words by importance, light to dark 0 to 1 · {len(lines)} utterances")
    return drawn


def _lines(subject: Subject) -> list[Line]:
    """The utterances that are shown; none where something is lacking."""
    program, rows = subject.model.program, subject.rows
    lacks = {UTTERANCE, TOKEN} - set(rows.annotations)
    if QUANTITY not in program.quantities or MODALITY not in program.encoded or lacks:
        return []
    answer = subject.model.query(rows, given=list(program.encoded), want=[QUANTITY], split="all")
    value = answer[QUANTITY]["value"][:, program.encoded.index(MODALITY)]
    seen = np.flatnonzero(rows.observed[MODALITY].numpy())
    names, group, counts = np.unique(rows.annotations[UTTERANCE][seen], return_inverse=True, return_counts=True)
    found = []
    for name, at in zip(names, np.split(seen[group.argsort(kind="stable")], counts.cumsum()[:-1])):
        tokens, of_token = rows.annotations[TOKEN][at], value[at]
        first = np.flatnonzero(np.append(True, tokens[1:] != tokens[:-1]))  # rows that follow each other are one word's
        means = np.add.reduceat(of_token, first) / np.diff(np.append(first, len(tokens)))
        found.append(Line(str(name), [str(token) for token in tokens[first[:LONGEST]]], means[:LONGEST]))
    found.sort(key=lambda line: -float(np.ptp(line.values)))
    return found[:MOST]


def _shades(values: np.ndarray) -> list[tuple[str, str]]:
    """The colours of a word's ground and letters."""
    colours = [to_hex(colormaps[COLOURS](0.75 * value)) for value in values]
    return [(colour, "white" if value > 0.75 else "black") for colour, value in zip(colours, values)]


def _wrapped(line: Line) -> list[list[tuple[int, int]]]:
    """Rows of (column, number of a word)."""
    rows: list[list[tuple[int, int]]] = [[]]
    column = 0
    for i, word in enumerate(line.words):
        length = len(printable(word)) + 2
        if column + length > LETTERS and rows[-1]:
            rows.append([])
            column = 0
        rows[-1].append((column, i))
        column += length
    return rows
