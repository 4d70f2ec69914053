"""Figures by name: what `plot` can draw of a fitted model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from ..base.registry import Registry
from ..data.dataset import Dataset
from ..inference.fitted import FittedModel

ASIDE = ("registry", "plot", "drawing", "training_curves")


@dataclass(frozen=True)
class Subject:
    """What a figure is drawn of.

    Args:
        model: the model.
        dataset: all parts of the data.
        rows: the rows that are shown: the test rows, or all rows if there are none.
        about: the model, the data and the part, for captions.
        own_data: True if the data are those of the fit.
        root: the folder with the files of a recipe.
        log: receives one-line messages.

    Example:
        >>> import mmppl
        >>> data = mmppl.read("digits-two-view")
        >>> model = mmppl.FittedModel(mmppl.load_program("mvae")(data.modalities, latent_dim=2, hidden=8), data=data)
        >>> subject = mmppl.Subject(model, data, data.take(data.rows("test")), "an untrained model · test rows")
        >>> len(subject.rows)
        359
    """

    model: FittedModel
    dataset: Dataset
    rows: Dataset
    about: str
    own_data: bool = True
    root: Any = None
    log: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Drawing:
    """One kind of figure.

    Args:
        draw: the function subject → figure; None means that the model does not have it.
        shows: what it shows, in words.
        absent: why a model may not have it.
        of_history: True if it depends on the history of the model alone; `draw` then takes the model.
        page: the same as a page of HTML, a function subject → text or None; None if there is none.
    """

    draw: Callable[..., Figure | None]
    shows: str
    absent: str
    of_history: bool = False
    page: Callable[[Subject], str | None] | None = None


def _lacks(drawing: Drawing) -> list[str]:
    return [part for part in ("shows", "absent") if not getattr(drawing, part)]


FIGURES: Registry[Drawing] = Registry("figure", __package__ or "", folders=("curves",), aside=ASIDE, lacks=_lacks)


def figure(
    name: str,
    *,
    shows: str,
    absent: str,
    of_history: bool = False,
    page: Callable[[Subject], str | None] | None = None,
) -> Callable[[Any], Any]:
    """Register a function of a `Subject` as a figure of `plot`.

    Args:
        name: the name for `--figure`; the file is NAME.png.
        shows: see `Drawing`.
        absent: see `Drawing`.
        of_history: see `Drawing`.
        page: see `Drawing`; it is written to NAME.html.

    Returns:
        A decorator, which returns the function unchanged.

    Raises:
        UsageError: the name is taken, or `shows` or `absent` is empty.

    Example:
        >>> import mmppl
        >>> from matplotlib.figure import Figure
        >>> from mmppl.figures.registry import FIGURES
        >>> @mmppl.figure("sizes", shows="how many rows each part has", absent="there are no rows")
        ... def sizes(subject):
        ...     drawn = Figure()
        ...     drawn.subplots().bar(["train", "test"], [len(subject.dataset.rows(part)) for part in ("train", "test")])
        ...     return drawn
        >>> FIGURES["sizes"].shows
        'how many rows each part has'
        >>> FIGURES.forget("sizes")
    """

    def add(draw: Callable[..., Figure | None]) -> Callable[..., Figure | None]:
        FIGURES.register(name, draw.__module__)(Drawing(draw, shows, absent, of_history, page))
        return draw

    return add
