"""Coherence: whether what a program generates is of the class that it was given, in the eyes of a judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.program import Program, class_label, generates
from ..data.dataset import Dataset
from ..modalities.modality import Modality
from .classifiers import classifier_of, predict
from .conditioning import BLOCK, in_blocks, set_name

if TYPE_CHECKING:
    from ..runs.run import Run

COHERENCE = ("coherence", "judge_accuracy")  # what the names of its metrics begin with


def coherence_names(program: Program) -> list[str]:
    """Every metric that `coherences` has for a program."""
    names = generates(program) if class_label(program) else []
    joint = ["coherence_joint"] if len(names) > 1 and program.can_answer([]) is None else []
    return [*(f"coherence.{name}" for name in names), *joint, *(f"judge_accuracy.{name}" for name in names)]


def unhidden(run: Run, train: Dataset, root: Any = None) -> Dataset:
    """The train rows of a fit with what it hid at random, for judges to learn from: so runs that hid other values share
    them. `train` where nothing was hidden, or where that cannot be read again (arrays in memory)."""
    if not run.info["data"]["options"]["hide"] or run.info["data"]["spec"] is None:
        return train
    whole = run.data(root, hidden=False)
    return whole.take(whole.rows("train"))


def coherences(
    run: Run,
    train: Dataset,
    test: Dataset,
    sets: Sequence[Sequence[str]],
    wanted: Sequence[str],
    *,
    seed: int = 0,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Those of `wanted` ("coherence.image", ...) that there are, as `evaluate` returns them."""
    program = run.program
    label = class_label(program)
    every = generates(program)
    named = [n for n in every if "coherence_joint" in wanted or {f"coherence.{n}", f"judge_accuracy.{n}"} & {*wanted}]
    if label is None or not named:
        return {}
    trained = classifiers(program, named, label, train, log=log)
    right = classifier_accuracy(program, test, trained, label)
    found: dict[str, Any] = {f"judge_accuracy.{name}": share for name, share in right.items()}
    for name, share in right.items():
        log(f"the judge of {name} finds {label.name} in {share:.2%} of the rows' own values")
    for given in sets:
        asked = {n: classifier for n, classifier in trained.items() if n not in given and f"coherence.{n}" in wanted}
        if asked:
            log(f"coherence of {', '.join(asked)} given {set_name(given)}: {len(test):,} rows")
        for name, share in coherence(run, test, given, asked, label, seed).items():
            found.setdefault(f"coherence.{name}", {})[set_name(given)] = share
    if "coherence_joint" in wanted and len(trained) == len(every):
        found["coherence_joint"] = {set_name([]): joint_coherence(run, test, trained, seed)}
    return found


def classifiers(
    program: Program,
    names: Sequence[str],
    label: Modality,
    train: Dataset,
    *,
    fresh: bool = True,
    log: Callable[[str], None] | None = None,
) -> dict[str, nn.Module]:
    """The judges of those of `names` that have one; see `mmppl.judges.judge_of`."""
    found = {}
    for name in names:
        classifier = classifier_of(program.modality(name), label, train, fresh=fresh, log=log)
        if classifier is not None:
            found[name] = classifier
        elif log is not None and fresh:
            log(f"no coherence of {name}: no train rows of two classes that have it and {label.name}")
    return found


def coherence(
    run: Run, rows: Dataset, given: Sequence[str], classifiers: Mapping[str, nn.Module], label: Modality, seed: int = 0
) -> dict[str, float]:
    """Per modality the share, in [0, 1], of labelled rows whose generated value its judge takes to be of their class.

    Generated is, from one draw of z per row given the conditioning set, the mean of the decoder's distribution; of
    classes that is their probabilities, so a text of which only the place is open can still be read.
    Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO", section 5 (its code draws and decodes so).
    """
    labelled = rows.take(rows.observed[label.name].nonzero().squeeze(-1))
    if not classifiers or not len(labelled):
        return {}
    truth = labelled.values[label.name].numpy()
    taken = predictions(run, labelled, given, classifiers, seed)
    return {name: float((codes == truth).mean()) for name, codes in taken.items()}


def joint_coherence(run: Run, rows: Dataset, classifiers: Mapping[str, nn.Module], seed: int = 0) -> float:
    """Share of draws from the prior, one for each row, whose modalities all judges take to be of one class."""
    first, *others = predictions(run, rows, [], classifiers, seed).values()
    return float(np.all([codes == first for codes in others], 0).mean())


def classifier_accuracy(
    program: Program, rows: Dataset, classifiers: Mapping[str, nn.Module], label: Modality
) -> dict[str, float]:
    """Per modality the share of the rows' own values whose class its judge finds: what coherence is measured with."""
    found = {}
    for name, classifier in classifiers.items():
        known = (rows.observed[name] & rows.observed[label.name]).nonzero().squeeze(-1)
        if len(known):
            m, truth = program.modality(name), rows.values[label.name]
            right = [
                predict(classifier, m.as_input(rows.values[name][some])) == truth[some].numpy()
                for some in known.split(BLOCK)
            ]
            found[name] = float(np.concatenate(right).mean())
    return found


def predictions(
    run: Run, rows: Dataset, given: Sequence[str], classifiers: Mapping[str, nn.Module], seed: int = 0
) -> dict[str, np.ndarray]:
    """name → (n,) codes of the classes that the judges take generated values to be of, all from one draw of z."""
    taken: dict[str, list[np.ndarray]] = {name: [] for name in classifiers}
    for _, answer in in_blocks(run, rows, given=given, want=list(classifiers), seed=seed):
        for name, classifier in classifiers.items():
            m = run.program.modality(name)
            taken[name].append(predict(classifier, _shown(m, answer[name])))
    return {name: np.concatenate(codes) for name, codes in taken.items()}


def _shown(m: Modality, answer: Mapping[str, np.ndarray]) -> Tensor:
    """(n, input_size) the mean of what was answered, as a judge takes it."""
    if m.family.values == "classes":
        return torch.from_numpy(np.asarray(answer["prob"], np.float32)).flatten(1)
    # what the decoder's own spread adds to a mean under a bent transform is taken off again
    mean = m.location_in_model_units(answer["mean"], answer["std"])
    return m.as_input(torch.from_numpy(np.asarray(mean, np.float32)))
