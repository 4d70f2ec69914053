"""Baselines of the negative log-likelihood: distributions without a latent, fitted to the training rows."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..data.dataset import Dataset
from ..modalities.modality import Modality
from ..modalities.transforms import TRANSFORMS


def nll_of_means(train: Dataset, test: Dataset, target: Modality, label: Modality | None) -> dict[str, float]:
    """Compute the anchors of the negative log-likelihood of a modality, in nats per test row that has it.

    "nll_global" is that of the training means of every entry (for classes, of their shares). "nll_class" is that of the
    training means of the true class, or of all rows where the class is missing or was never seen in training. The steps
    of a sequence share one mean.
    "nll_floor" is the limit that no decoder can pass (for grey values Σ H(x); absent for classes, where it is 0).

    Args:
        train: the training rows, in model units.
        test: the test rows.
        target: the modality.
        label: the class label, or None.

    Returns:
        Those of `Likelihood.anchors` that the likelihood has; {} if it has none.
    """
    learnt, asked = (part.observed[target.name].nonzero().squeeze(-1) for part in (train, test))
    family = target.family
    if not family.anchors or not len(learnt) or not len(asked):
        return {}
    train_values, truth = train.values[target.name][learnt], test.values[target.name][asked]
    rows = len(asked)
    if target.sequence:  # the steps that exist are rows of one distribution
        of_train, of_test = (part.present[target.name][..., 0][at] for part, at in ((train, learnt), (test, asked)))
        train_values, truth, target = train_values[of_train], truth[of_test], target.step
        learnt, asked = (
            at.unsqueeze(-1).expand(steps.shape)[steps] for at, steps in ((learnt, of_train), (asked, of_test))
        )
    elif target.name in train.present or target.name in test.present:
        return _of_columns(train, test, target, label)
    overall = family.negative_log_likelihood(target, truth, family.baseline_parameters(target, train_values))
    found = {"nll_global": float(overall.sum() / rows)}
    if "nll_floor" in family.anchors:
        found["nll_floor"] = float(family.negative_log_likelihood(target, truth, None).sum() / rows)
    if label is not None and "nll_class" in family.anchors:
        by_class = overall.clone()
        trained, wanted = (
            torch.where(part.observed[label.name], part.values[label.name], -1)[rows]
            for part, rows in ((train, learnt), (test, asked))
        )
        for code in range(label.n_classes):
            of_code, of_class = wanted == code, train_values[trained == code]
            if len(of_class):
                parameters = family.baseline_parameters(target, of_class)
                by_class[of_code] = family.negative_log_likelihood(target, truth[of_code], parameters)
        found["nll_class"] = float(by_class.sum() / rows)
    return found


def _of_columns(train: Dataset, test: Dataset, target: Modality, label: Modality | None) -> dict[str, float]:
    """The same where rows lack single cells: the sum over columns, each of the rows that have it, per row."""
    column = replace(
        target, shape=(), gaps=False, features=None, input_scaling=None, shift=None, spread=None,
        transform="none" if TRANSFORMS[target.transform].learns else target.transform,
    )  # fmt: skip
    parts = [_columns(part, target) for part in (train, test)]
    rows, total = int(test.observed[target.name].sum()), dict[str, float]()
    for place in range(target.size):
        of = [
            replace(
                part, modalities=tuple(column if m.name == target.name else m for m in part.modalities),
                values=part.values | {target.name: values[:, place]},
                observed=part.observed | {target.name: there[:, place]},
                present={name: of for name, of in part.present.items() if name != target.name},
            )
            for part, (values, there) in zip((train, test), parts)
        ]  # fmt: skip
        number = int(of[1].observed[target.name].sum())
        for name, nats in nll_of_means(of[0], of[1], column, label).items():
            total[name] = total.get(name, 0.0) + nats * number / rows
    return total


def _columns(part: Dataset, m: Modality) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, size) values, and which of them rows have."""
    there = part.observed[m.name].unsqueeze(-1).expand(-1, m.size)
    if m.name in part.present:
        there = there & part.present[m.name].flatten(1)
    return part.values[m.name].flatten(1), there
