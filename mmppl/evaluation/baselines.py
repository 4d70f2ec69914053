"""Baselines of the negative log-likelihood: distributions without a latent, fitted to the training rows."""

from __future__ import annotations

import torch

from ..data.dataset import Dataset
from ..modalities.modality import Modality


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
