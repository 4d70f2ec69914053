"""Writing the figures of a fitted model, each into a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ..base.files import write
from ..errors import MMPPLError, UsageError
from ..evaluation.conditioning import answerable_rows
from ..inference.fitted import FittedModel
from .drawing import png, styled
from .registry import FIGURES, Subject


def plot(
    model: FittedModel,
    folder: Path,
    data: Any = None,
    *,
    figures: Sequence[str] | None = None,
    root: Any = None,
    log: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write FOLDER/NAME.png for each figure, and for some a page FOLDER/NAME.html beside it.

    Nothing is trained. Coherence is drawn if the classifiers of these data are kept (`mmppl evaluate RUN --metric
    coherence` trains them).

    Args:
        model: the model.
        folder: an existing folder.
        data: anything that `mmppl.read` takes, for all figures except the losses; None takes the data of the fit. The
            test rows are shown, or all rows if there are none. If the data of the fit cannot be read again, only the
            losses are drawn.
        figures: the names of figures, each of which must be possible; None draws all that are possible.
        root: the folder with the files that a recipe needs.
        log: receives one line per figure.

    Returns:
        The paths of the files.

    Raises:
        UsageError: a name is unknown, or this model does not have that figure.
    """
    log = log or (lambda line: None)
    drawings = {name: FIGURES[name] for name in (FIGURES if figures is None else dict.fromkeys(figures))}
    if figures is None:  # figures that need no data come first
        drawings = dict(sorted(drawings.items(), key=lambda item: not item[1].of_history))
    subject = None
    if any(not drawing.of_history for drawing in drawings.values()):
        try:
            subject = _subject(model, data, root, log)
        except MMPPLError as error:
            if data is not None or figures is not None:
                raise
            log(f"only the losses are drawn: {error}")
    paths = []
    with styled():
        for name, drawing in drawings.items():
            shown = model if drawing.of_history else subject
            drawn = None if shown is None else drawing.draw(shown)
            if drawn is None:
                if figures is not None:
                    raise UsageError(f"{model.name}: no figure {name}: {drawing.absent}.")
                continue
            paths.append(folder / f"{name}.png")
            write(paths[-1], png(drawn))
            log(f"{paths[-1]}")
            if isinstance(shown, Subject) and drawing.page is not None and (text := drawing.page(shown)) is not None:
                paths.append(folder / f"{name}.html")
                write(paths[-1], text.encode())
                log(f"{paths[-1]}")
    return paths


def _subject(model: FittedModel, data: Any, root: Any, log: Callable[[str], None]) -> Subject:
    dataset = model.dataset(data, root=root)
    split: Literal["test", "all"] = "test" if len(dataset.rows("test")) else "all"
    rows, _ = answerable_rows(model.program, dataset, split)
    changed = "".join(f" · {name}={value}" for name, value in model.options.items())
    about = f"run {model.title}{changed} · {dataset.name} · {split} rows"
    return Subject(model, dataset, rows, about, data is None, root, log)
