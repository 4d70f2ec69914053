"""Pictures of a run: its losses, what it generates, what it reconstructs from each conditioning set, its latent space,
single axes of it, styles, and whether classes agree by what is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib
from matplotlib.figure import Figure

from ..base.files import write
from ..data.dataset import Dataset
from ..errors import MMPPLError, UsageError, suggest
from ..evaluation.conditioning import answerable_rows, default_conditioning_sets
from ..runs.storage import figures_folder
from .coherence import _coherence
from .drawing import STYLE, examples, png
from .generated import _generated, _reconstructions
from .latent_space import latent_space
from .style_transfer import style_transfer
from .training_curves import losses
from .traversals import traversals

if TYPE_CHECKING:
    from ..runs.run import Run

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
    log: Callable[[str], None] | None = None,
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
    log = log or (lambda line: None)
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
            log(f"only the losses are drawn: {error}")
        else:
            made |= _of_rows(run, dataset, root, data is None, log)
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
            log(f"{paths[-1]}")
    return paths


def _of_rows(
    run: Run, dataset: Dataset, root: Any, of_fit: bool, log: Callable[[str], None]
) -> dict[str, Callable[[], Figure | None]]:
    """name → what draws the figure, or finds that there is none."""
    program = run.program
    split: Literal["test", "all"] = "test" if len(dataset.rows("test")) else "all"
    rows, _ = answerable_rows(program, dataset, split)
    changed = "".join(f" · {name}={value}" for name, value in run.set.items())
    about = f"run {run.path.name}{changed} · {dataset.name} · {split} rows"
    example = examples(program, rows, default_conditioning_sets(program)[-1], 1)
    return {
        "generated": lambda: _generated(run, rows, about),
        "reconstructions": lambda: _reconstructions(run, rows, about),
        "latent": lambda: latent_space(run, rows, about),
        "traversals": lambda: traversals(run, rows, example, about),
        "styles": lambda: style_transfer(run, rows, about),
        "coherence": lambda: _coherence(run, dataset, rows, root, of_fit, about, log),
    }
