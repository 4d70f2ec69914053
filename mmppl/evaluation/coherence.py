"""Coherence: whether what a program generates is of the class that it was given, in the eyes of a judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..core.program import Program
from ..data.dataset import Dataset
from ..inference.fitted import FittedModel
from ..modalities.modality import Modality
from .classifiers import classifier_of, predict
from .conditioning import BLOCK, in_blocks


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
    model: FittedModel,
    rows: Dataset,
    given: Sequence[str],
    classifiers: Mapping[str, nn.Module],
    label: Modality,
    seed: int = 0,
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
    taken = predictions(model, labelled, given, classifiers, seed)
    return {name: float((codes == truth).mean()) for name, codes in taken.items()}


def joint_coherence(model: FittedModel, rows: Dataset, classifiers: Mapping[str, nn.Module], seed: int = 0) -> float:
    """Share of draws from the prior, one for each row, whose modalities all judges take to be of one class."""
    first, *others = predictions(model, rows, [], classifiers, seed).values()
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
    model: FittedModel, rows: Dataset, given: Sequence[str], classifiers: Mapping[str, nn.Module], seed: int = 0
) -> dict[str, np.ndarray]:
    """name → (n,) codes of the classes that the judges take generated values to be of, all from one draw of z."""
    taken: dict[str, list[np.ndarray]] = {name: [] for name in classifiers}
    for _, answer in in_blocks(model, rows, given=given, want=list(classifiers), seed=seed):
        for name, classifier in classifiers.items():
            m = model.program.modality(name)
            taken[name].append(predict(classifier, _shown(m, answer[name])))
    return {name: np.concatenate(codes) for name, codes in taken.items()}


def _shown(m: Modality, answer: Mapping[str, np.ndarray]) -> Tensor:
    """(n, input_size) the mean of what was answered, as a judge takes it."""
    if m.family.values == "classes":
        return torch.from_numpy(np.asarray(answer["prob"], np.float32)).flatten(1)
    # what the decoder's own spread adds to a mean under a bent transform is taken off again
    mean = m.location_in_model_units(answer["mean"], answer["std"])
    return m.as_input(torch.from_numpy(np.asarray(mean, np.float32)))
