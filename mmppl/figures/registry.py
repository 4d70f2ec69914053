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
        model: what is shown.
        dataset: all parts of the data; None where they cannot be had.
        rows: those that are shown: the test rows, or all if there are none.
        about: the model, the data and the part, for captions.
        own_data: the data are those of the fit.
        root: folder of the files of a recipe.
        log: receives one-line messages.
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
        draw: subject → the figure; None where the model has none.
        shows: what it shows, in words.
        absent: why a model may not have it.
        of_history: drawn of the model's history alone: `draw` takes the model.
    """

    draw: Callable[..., Figure | None]
    shows: str
    absent: str
    of_history: bool = False


def _lacks(drawing: Drawing) -> list[str]:
    return [part for part in ("shows", "absent") if not getattr(drawing, part)]


FIGURES: Registry[Drawing] = Registry("figure", __package__ or "", aside=ASIDE, lacks=_lacks)


def figure(name: str, *, shows: str, absent: str, of_history: bool = False) -> Callable[[Any], Any]:
    """Decorator that makes a function of a `Subject` a figure of `plot`.

    Args:
        name: what `--figure` calls it; the file is NAME.png.
        shows, absent, of_history: see `Drawing`.
    Raises:
        UsageError: the name is taken, or `shows` or `absent` is empty.
    """

    def add(draw: Callable[..., Figure | None]) -> Callable[..., Figure | None]:
        FIGURES.register(name, draw.__module__)(Drawing(draw, shows, absent, of_history))
        return draw

    return add
