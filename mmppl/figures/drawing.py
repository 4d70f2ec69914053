"""The parts of figures: one value of a modality as a small picture, a heat map, a caption."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..base.text import printable
from ..core.program import Program
from ..core.roles import class_label
from ..data.dataset import Dataset
from ..modalities.images import image_layout, shades
from ..modalities.kinds import kind
from ..modalities.modality import Modality

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
GAP = 2  # white pixels between the images of a mosaic
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#777777"  # distinct to the colour-blind (Okabe & Ito)

_DRAWING = threading.RLock()


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of this library inside a `with` block.

    Matplotlib's settings are the process's, so that one thread draws at a time.
    """
    with _DRAWING, matplotlib.rc_context(STYLE):
        yield


def quoted(text: Any) -> str:
    """Return a name as a figure can show it: what has no shape is escaped, and a "$" begins no formula.

    Args:
        text: the name of a modality, class, row, run, term, ..., all of which may be other people's.

    Returns:
        The text for matplotlib.
    """
    return printable(text).replace("$", r"\$")


def true_values(data: Dataset, m: Modality) -> list[Any]:
    """Return the true values of a modality.

    Args:
        data: N rows.
        m: the modality.

    Returns:
        N values in input units (class names for classes), None where one is missing. Steps and cells that a row
        lacks are NaN, of classes "" or -1.
    """
    value = data.values[m.name].numpy()
    value = np.asarray(m.classes)[value] if m.classes is not None else m.value_in_input_units(value)
    if m.name in data.present:
        filler: Any = np.nan if m.classes is None else "" if value.dtype.kind == "U" else -1
        value = np.where(data.present[m.name].numpy(), value, filler)
    return [x if seen else None for x, seen in zip(value, data.observed[m.name].numpy())]


def limits(data: Dataset, m: Modality) -> tuple[float, float]:
    """Return the values that are drawn black and white.

    Args:
        data: the rows.
        m: the modality.

    Returns:
        Black and white, in input units.
    """
    if (known := m.family.limits(m)) is not None:
        return known
    there = [x for x in true_values(data, m) if x is not None]
    if m.classes is not None or not there:
        return 0.0, 1.0
    return float(np.nanmin(there)), float(np.nanmax(there))


def draw_image(ax: Axes, value: np.ndarray, limits: tuple[float, float], colours: str = "gray") -> None:
    """Draw an image.

    Args:
        ax: the axes.
        value: (H, W), (C, H, W) or (H, W, C).
        limits: the values of black and white.
        colours: the name of a colour map.
    """
    low, high = limits
    if value.ndim == 3 and not image_layout(value.shape)[3]:
        value = np.moveaxis(value, 0, -1)
    if value.ndim == 3 and value.shape[-1] == 1:
        value = value[..., 0]
    if value.ndim == 3:  # a map of numbers, such as a sd, has no opacity
        value = shades(value if colours == "gray" else value[..., :3], limits)
    ax.imshow(value, cmap=colours, vmin=low, vmax=high)
    hide_axes(ax)


def draw_value(ax: Axes, m: Modality, value: Any, limits: tuple[float, float]) -> None:
    """Draw a value as it is in the data.

    Args:
        ax: the axes.
        m: the modality.
        value: the value in input units; None if it is missing.
        limits: the values of black and white.
    """
    if value is None:
        _text(ax, "missing", GREY)
    elif m.drawn == "image":
        draw_image(ax, value, limits)
    elif m.drawn == "curve":
        ax.plot(_lines(m, value), color=BLUE, linewidth=1)
    else:
        _text(ax, _words(m, value))


def draw_prediction(ax: Axes, m: Modality, truth: Any, answer: Mapping[str, np.ndarray]) -> None:
    """Draw the true value and the prediction of a modality that is no image.

    Args:
        ax: the axes.
        m: the modality.
        truth: the true value in input units; None if it is missing.
        answer: the parts of `Answer.want` for one row.
    """
    if m.drawn == "curve":
        low, high, mean = (_lines(m, answer[key]) for key in ("q05", "q95", "mean"))
        drawn = np.full_like(mean, np.nan) if truth is None else _lines(m, truth)
        steps = np.arange(len(mean))
        for i, lines in enumerate(zip(low.T, high.T, mean.T, drawn.T)):
            bottom, top, middle, line = lines
            named = ("90 %", "mean", "true") if not i else (None, None, None)
            ax.fill_between(steps, bottom, top, color=ORANGE, alpha=0.25, linewidth=0, label=named[0])
            ax.plot(steps, middle, "--", color=ORANGE, linewidth=1, label=named[1])
            if truth is not None:
                ax.plot(steps, line, color=BLUE, linewidth=1, label=named[2])
    elif m.classes is None:
        true = "missing" if truth is None else f"{float(truth):.3g}"
        _text(ax, f"{float(answer['mean']):.3g} ± {float(answer['std']):.2g}\ntrue {true}")
    else:
        right = truth is not None and np.array_equal(answer["predicted"], truth)
        outcome = "missing" if truth is None else "right" if right else f"true: {_words(m, truth)}"
        text = f"{_words(m, answer['predicted'])}\n{answer['prob'].max(-1).prod():.2f} · {outcome}"
        _text(ax, text, "black" if right or truth is None else ORANGE)


def _lines(m: Modality, value: np.ndarray) -> np.ndarray:
    """(points, lines): the features as one line, or of a sequence a line for each feature, over the steps."""
    return value if m.sequence else value.reshape(-1, 1)


def _words(m: Modality, value: Any) -> str:
    if kind(m) == "survival":
        return f"{abs(float(value)):.3g}" + ("+" if value < 0 else "")  # as censored times are written
    if m.classes is None:
        return f"{float(value):.3g}"
    parts = [quoted(part) for part in np.ravel(value)]
    return ("" if all(len(part) <= 1 for part in parts) else " ").join(parts).strip() if m.shape else parts[0]


def _text(ax: Axes, text: str, colour: str = "black") -> None:
    ax.text(0.5, 0.5, text, ha="center", va="center", color=colour, transform=ax.transAxes)
    hide_axes(ax)


def hide_axes(ax: Axes) -> None:
    """Hide the axes.

    Args:
        ax: the axes.
    """
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def row_name(ax: Axes, name: str) -> None:
    """Write a name to the left of a row of pictures.

    Args:
        ax: the axes of the first picture.
        name: the name.
    """
    ax.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6)


def mosaic(
    ax: Axes,
    pictures: np.ndarray,
    limits: tuple[float, float],
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    words: np.ndarray | None = None,
) -> None:
    """Draw a table of images as one picture; NaN is white.

    Args:
        ax: the axes.
        pictures: (R, C, H, W, channels).
        limits: the values of black and white.
        rows: the names of the rows.
        columns: the names of the columns.
        words: (R, C) texts for the upper left corners, or None.
    """
    deep, across, height, width, _ = pictures.shape
    shown = np.nan_to_num(shades(pictures, limits), nan=1.0)
    whole = np.ones((deep, height + GAP, across, width + GAP, 3))
    whole[:, :height, :, :width] = np.moveaxis(shown, 2, 1)  # one channel is grey in all three
    ax.imshow(whole.reshape(deep * (height + GAP), across * (width + GAP), 3)[:-GAP, :-GAP], interpolation="nearest")
    hide_axes(ax)
    ax.tick_params(length=0, labelsize=6.5, pad=2, labeltop=True, labelbottom=False)
    ax.set_yticks(np.arange(len(rows)) * (height + GAP) + height / 2 - 0.5, rows)
    ax.set_xticks(np.arange(len(columns)) * (width + GAP) + width / 2 - 0.5, columns)
    if words is not None:
        for (i, j), word in np.ndenumerate(words):
            place = (j * (width + GAP) + 0.06 * width, i * (height + GAP) + 0.04 * height)
            ax.text(*place, quoted(str(word)[:6]), color=ORANGE, fontsize=5.5, weight="bold", ha="left", va="top")


def heat_map(ax: Axes, shares: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draw shares as per cents in cells; a cell that is NaN stays empty.

    Args:
        ax: the axes.
        shares: (R, C) in [0, 1].
        rows: the names of the rows.
        columns: the names of the columns.
    """
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        if np.isfinite(share):
            colour = "white" if share > 0.6 else "black"
            ax.text(j, i, f"{100 * share:.1f}", ha="center", va="center", color=colour)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), [f"given {row}" if not i else row for i, row in enumerate(rows)])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def class_codes(data: Dataset, label: Modality | None) -> np.ndarray:
    """Return the class codes of a label.

    Args:
        data: N rows.
        label: the label, or None.

    Returns:
        (N,) codes, −1 where there is none.
    """
    if label is None:
        return np.full(len(data), -1)
    return np.where(data.observed[label.name].numpy(), data.values[label.name].numpy(), -1)


def example_rows(program: Program, rows: Dataset, given: Sequence[str], number: int) -> Dataset:
    """Select example rows: a first one of each class, then a second one, and so on.

    Rows that have everything that is given come before others, and of these those that miss least.

    Args:
        program: the program, whose class label counts.
        rows: the rows to choose from.
        given: the conditioning set.
        number: how many rows to select.

    Returns:
        At most `number` rows.
    """
    missing, lacks = (
        torch.stack([~rows.observed[name] for name in names]).sum(0).numpy() for names in (rows.observed, given)
    )
    codes = class_codes(rows, class_label(program))
    order = np.lexsort((missing, lacks))
    turn = np.zeros(len(rows), int)
    for code in np.unique(codes):
        own = order[codes[order] == code]
        turn[own] = np.arange(len(own))
    return rows.take(torch.from_numpy(np.lexsort((codes, turn))[:number]))


def caption(figure: Figure, text: str) -> None:
    """Write small grey lines below everything else.

    Args:
        figure: the figure.
        text: the caption, which is wrapped.
    """
    letters = int(19 * figure.get_figwidth())  # letters in a line of this size
    figure.supxlabel(textwrap.fill(quoted(text), letters), fontsize=6.5, color=GREY)


def png(figure: Figure) -> bytes:
    """Encode a figure.

    Args:
        figure: the figure.

    Returns:
        The bytes of a .png file.
    """
    image = BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()
