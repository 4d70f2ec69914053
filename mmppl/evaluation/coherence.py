"""Coherence: whether a classifier finds the given class in what a program generates."""

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
from .conditioning import BLOCK, in_blocks, with_all


def classifiers(
    program: Program,
    names: Sequence[str],
    label: Modality,
    train: Dataset,
    *,
    fresh: bool = True,
    log: Callable[[str], None] | None = None,
) -> dict[str, nn.Module]:
    """Load or train the classifiers of several modalities; see `classifier_of`.

    Args:
        program: the program.
        names: the names of the modalities.
        label: the class label.
        train: the training rows, in model units.
        fresh: whether to train those that are not kept.
        log: receives one-line messages.

    Returns:
        name → classifier, without the modalities that have none.
    """
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
    """Compute the share of labelled rows that have all that is given, for whose generated values a classifier predicts
    the class of the row.

    The generated value is the mean of the decoder's distribution for one draw of z per row. For classes this is their
    probabilities, so that a text can be read although its position is open.

    Args:
        model: the model that generates.
        rows: the rows that are asked about.
        given: the conditioning set.
        classifiers: name → classifier of that modality.
        label: the class label.
        seed: the seed of the draws.

    Returns:
        name → share in [0, 1]; {} if there is no classifier or no such row.

    Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO", section 5 (its code draws and decodes so).
    """
    labelled = with_all(rows, [label.name, *given])
    if not classifiers or not len(labelled):
        return {}
    truth = labelled.values[label.name].numpy()
    predicted = predictions(model, labelled, given, classifiers, seed)
    return {name: float((codes == truth).mean()) for name, codes in predicted.items()}


def joint_coherence(model: FittedModel, rows: Dataset, classifiers: Mapping[str, nn.Module], seed: int = 0) -> float:
    """Compute the share of draws from the prior for which all classifiers predict the same class.

    Args:
        model: the model that generates.
        rows: gives the number of draws, one per row.
        classifiers: name → classifier of that modality.
        seed: the seed of the draws.

    Returns:
        A share in [0, 1].
    """
    first, *others = predictions(model, rows, [], classifiers, seed).values()
    return float(np.all([codes == first for codes in others], 0).mean())


def classifier_accuracy(
    program: Program, rows: Dataset, classifiers: Mapping[str, nn.Module], label: Modality
) -> dict[str, float]:
    """Compute the accuracy of the classifiers on the rows' own values, which limits what coherence can measure.

    Args:
        program: the program.
        rows: the rows.
        classifiers: name → classifier of that modality.
        label: the class label.

    Returns:
        name → share in [0, 1], over the rows that have both.
    """
    found = {}
    for name, classifier in classifiers.items():
        known = (rows.observed[name] & rows.observed[label.name]).nonzero().squeeze(-1)
        if len(known):
            m, truth = program.modality(name), rows.values[label.name]
            there = rows.present.get(name)
            right = [
                predict(classifier, m.as_input(rows.values[name][some], None if there is None else there[some]))
                == truth[some].numpy()
                for some in known.split(BLOCK)
            ]
            found[name] = float(np.concatenate(right).mean())
    return found


def predictions(
    model: FittedModel, rows: Dataset, given: Sequence[str], classifiers: Mapping[str, nn.Module], seed: int = 0
) -> dict[str, np.ndarray]:
    """Predict the classes of generated values, all from one draw of z per row.

    Args:
        model: the model that generates.
        rows: n rows.
        given: the conditioning set.
        classifiers: name → classifier of that modality.
        seed: the seed of the draws.

    Returns:
        name → (n,) class codes.
    """
    predicted: dict[str, list[np.ndarray]] = {name: [] for name in classifiers}
    for _, answer in in_blocks(model, rows, given=given, want=list(classifiers), seed=seed):
        for name, classifier in classifiers.items():
            m = model.program.modality(name)
            predicted[name].append(predict(classifier, _classifier_input(m, answer[name])))
    return {name: np.concatenate(codes) for name, codes in predicted.items()}


def _classifier_input(m: Modality, answer: Mapping[str, np.ndarray]) -> Tensor:
    """Return the mean of an answer as the input of a classifier, (n, input_size). Steps of NaN do not exist."""
    if m.family.values == "classes":
        prob = torch.from_numpy(np.asarray(answer["prob"], np.float32))
        return m.masked_input(prob.flatten(1), ~prob.isnan().any(-1) if m.sequence else None)
    # Under a non-linear transform the decoder's spread shifts the mean in input units; this undoes the shift.
    mean = m.location_in_model_units(answer["mean"], answer["std"])
    value = torch.from_numpy(np.asarray(mean, np.float32))
    return m.as_input(value, ~value.isnan() if m.sequence else None)
