"""Baselines without a latent model: classes by logistic regression, numbers by their training means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..base.quiet import without_warnings
from ..data.dataset import Dataset
from ..modalities.modality import Modality
from .scores import error_rate, rmse

MAX_ROWS = 10_000


def baseline_error(
    train: Dataset, test: Dataset, given: Sequence[Modality], target: Modality, *, seed: int = 0
) -> float:
    """Compute the error rate of logistic regression from the given modalities, over the test rows where `target` is
    observed.

    Its features are what an encoder would see (classes one-hot), and a missing modality becomes its training mean. It
    is trained on the rows of `train` where `target` is observed, or on a seeded sample of `MAX_ROWS` of them if there
    are more.

    Args:
        train: the training rows, in model units.
        test: the test rows.
        given: the modalities to predict from.
        target: the class to predict.
        seed: the seed of the sample.

    Returns:
        A share in [0, 1]; NaN if `target` is never observed in `train`, or never in `test`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labelled = [np.flatnonzero(part.observed[target.name].numpy()) for part in (train, test)]
    if not all(map(len, labelled)):
        return float("nan")
    if len(labelled[0]) > MAX_ROWS:
        labelled[0] = np.sort(np.random.default_rng(seed).choice(labelled[0], MAX_ROWS, replace=False))
    classes, truth = (part.values[target.name].numpy()[rows] for part, rows in zip((train, test), labelled))
    if len(np.unique(classes)) == 1:
        return error_rate(truth, np.full_like(truth, classes[0]))
    features, asked = (_features(part, given, rows) for part, rows in zip((train, test), labelled))
    pipeline = make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(copy=False), LogisticRegression(max_iter=200)
    )
    with without_warnings(ConvergenceWarning):  # 200 iterations are the definition of this baseline
        pipeline.fit(features, classes)
    return error_rate(truth, pipeline.predict(asked))


def _features(data: Dataset, given: Sequence[Modality], rows: np.ndarray) -> np.ndarray:
    """(n, 1 + Σ input_size) with NaN where a modality is missing; the first column is one, in case nothing is given."""
    columns = [np.ones((len(rows), 1), np.float32)]
    for m in given:
        columns.append(m.as_input(data.values[m.name][rows]).numpy().astype(np.float32))
        columns[-1][~data.observed[m.name].numpy()[rows]] = np.nan
    return np.concatenate(columns, 1)


def rmse_of_means(train: Dataset, test: Dataset, target: Modality, label: Modality | None) -> tuple[float, float]:
    """Compute the two anchors of a generated modality: the rmse of its training mean, and of the training mean of the
    true class.

    Both are in input units, over the test rows where `target` is observed. A row whose class is missing or was never
    seen in training gets the overall mean.

    Args:
        train: the training rows, in model units.
        test: the test rows.
        target: a modality of numbers.
        label: the class label, or None.

    Returns:
        The two numbers. The second is NaN without a label, and both are NaN without a row to learn from or to score.
    """
    seen, asked = (part.observed[target.name].numpy() for part in (train, test))
    if not seen.any() or not asked.any():
        return float("nan"), float("nan")
    values, truth = (
        target.value_in_input_units(part.values[target.name].numpy()[rows])
        for part, rows in ((train, seen), (test, asked))
    )
    overall = values.mean(0, dtype=np.float64)
    if label is None:
        return rmse(truth, overall), float("nan")
    trained, wanted = (
        np.where(part.observed[label.name].numpy(), part.values[label.name].numpy(), -1)[rows]
        for part, rows in ((train, seen), (test, asked))
    )
    predicted = np.broadcast_to(overall, truth.shape).copy()
    for code in np.intersect1d(trained, wanted):
        if code >= 0:
            predicted[wanted == code] = values[trained == code].mean(0, dtype=np.float64)
    return rmse(truth, overall), rmse(truth, predicted)


def nll_of_means(train: Dataset, test: Dataset, target: Modality, label: Modality | None) -> dict[str, float]:
    """Compute the anchors of the negative log-likelihood of a modality, in nats per test row that has it.

    "nll_global" is that of the training means of every entry (for classes, of their shares). "nll_class" is that of the
    training means of the true class, or of all rows where the class is missing or was never seen in training.
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
    overall = family.negative_log_likelihood(target, truth, family.baseline_parameters(target, train_values))
    found = {"nll_global": float(overall.mean())}
    if "nll_floor" in family.anchors:
        found["nll_floor"] = float(family.negative_log_likelihood(target, truth, None).mean())
    if label is not None and "nll_class" in family.anchors:
        by_class = overall.clone()
        trained, wanted = (
            torch.where(part.observed[label.name], part.values[label.name], -1)[rows]
            for part, rows in ((train, learnt), (test, asked))
        )
        for code in range(label.n_classes):
            rows, of_class = wanted == code, train_values[trained == code]
            if len(of_class):
                parameters = family.baseline_parameters(target, of_class)
                by_class[rows] = family.negative_log_likelihood(target, truth[rows], parameters)
        found["nll_class"] = float(by_class.mean())
    return found
