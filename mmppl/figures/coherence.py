"""The figure of coherence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from ..core.program import class_label, generates
from ..data.dataset import Dataset
from ..errors import UsageError
from ..evaluation.coherence import classifier_accuracy, classifiers, coherence, unhidden
from ..evaluation.conditioning import default_conditioning_sets, set_name
from ..evaluation.latent import probes
from .drawing import caption, heat_map

if TYPE_CHECKING:
    from ..runs.run import Run

MOST_JUDGED = 2000  # rows


def _coherence(
    run: Run, dataset: Dataset, rows: Dataset, root: Any, of_fit: bool, about: str, log: Callable[[str], None]
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
    trained = classifiers(program, generates(program), label, taught, fresh=False)
    if not trained:
        log(f"no coherence is drawn: mmppl evaluate {run.path} --metric coherence trains its judges")
        return None
    test = rows.take(torch.linspace(0, len(rows) - 1, min(len(rows), MOST_JUDGED)).long())
    sets, probe = default_conditioning_sets(program), f"probe500.{label.name}"
    shares = np.full((len(sets), 1 + len(trained)), np.nan)
    for line, given in zip(shares, sets):
        with suppress(UsageError):  # a program whose latents have other names
            line[0] = probes(run, train, test, given, [label], [probe]).get(probe, np.nan)
        asked = {n: classifier for n, classifier in trained.items() if n not in given}
        found = coherence(run, test, given, asked, label)
        line[1:] = [found.get(name, np.nan) for name in trained]
    best = classifier_accuracy(program, test, trained, label)
    names = [f"{label.name}, by a linear\nprobe of z"]
    names += [f"{name}\n(judge: {best[name]:.1%})" if name in best else name for name in trained]
    figure = Figure(figsize=(1.15 * len(names) + 2.2, 0.42 * len(sets) + 1.5), layout="constrained")
    ax = figure.subplots()
    heat_map(ax, shares, [set_name(given) for given in sets], names)
    ax.set_title(f"rows (%) whose {label.name} is found in what is generated", loc="left")
    caption(
        figure,
        f"{about} · n = {len(test):,} of {len(rows):,} · one draw of z per row · judge: on real values · empty: given",
    )
    return figure
