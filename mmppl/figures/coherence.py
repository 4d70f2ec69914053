"""The figure of coherence."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from matplotlib.figure import Figure

from ..core.roles import class_label, generates
from ..errors import UsageError
from ..evaluation.coherence import classifier_accuracy, classifiers, coherence
from ..evaluation.conditioning import default_conditioning_sets, set_name
from ..evaluation.latent import probes
from ..evaluation.study import Study
from .drawing import caption, heat_map, quoted
from .registry import Subject, figure

MAX_ROWS = 2000


@figure(
    "coherence",
    shows="whether generated modalities are of the right class",
    absent="no classifier is kept; mmppl evaluate RUN --metric coherence trains them",
)
def coherence_table(subject: Subject) -> Figure | None:
    """Draw the coherence of each modality and the accuracy of a linear probe of the latent, for each conditioning set.

    Args:
        subject: what is drawn.

    Returns:
        The figure; None if no classifier is kept or there is no class label.
    """
    model, rows, about = subject.model, subject.rows, subject.about
    program, label = model.program, class_label(model.program)
    if label is None:
        return None
    test = rows.take(torch.linspace(0, len(rows) - 1, min(len(rows), MAX_ROWS)).long())
    sets, probe = default_conditioning_sets(program), f"probe500.{label.name}"
    study = Study(model, subject.dataset, test, sets, own_data=subject.own_data, root=subject.root, log=subject.log)
    whole = study.whole_train
    trained = {} if whole is None else classifiers(program, generates(program), label, whole, fresh=False)
    if not trained:
        subject.log(f"no coherence is drawn: mmppl evaluate {model.name} --metric coherence trains its classifiers")
        return None
    shares = np.full((len(sets), 1 + len(trained)), np.nan)
    for line, given in zip(shares, sets):
        with suppress(UsageError):  # the latents of the program have other names
            line[0] = probes(model, study.train, test, given, [label], [probe]).get(probe, np.nan)
        asked = {n: classifier for n, classifier in trained.items() if n not in given}
        found = coherence(model, test, given, asked, label)
        line[1:] = [found.get(name, np.nan) for name in trained]
    best = classifier_accuracy(program, test, trained, label)
    names = [f"{quoted(label.name)}, by a linear\nprobe of z"]
    names += [f"{quoted(name)}\n(classifier: {best[name]:.1%})" if name in best else quoted(name) for name in trained]
    drawn = Figure(figsize=(1.15 * len(names) + 2.2, 0.42 * len(sets) + 1.5), layout="constrained")
    ax = drawn.subplots()
    heat_map(ax, shares, [quoted(set_name(given)) for given in sets], names)
    ax.set_title(f"rows (%) whose {quoted(label.name)} is found in what is generated", loc="left")
    caption(
        drawn,
        f"{about} · n = {len(test):,} of {len(rows):,} · one draw of z per row · classifier: on real values · "
        "empty: given",
    )
    return drawn
