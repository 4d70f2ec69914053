"""What is known without a latent model: classes by logistic regression, numbers by their training means."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch

from ..data.dataset import Dataset
from ..modalities.modality import Modality
from .scores import error_rate, rmse

MOST_ROWS = 10_000


def baseline_error(
    train: Dataset, test: Dataset, given: Sequence[Modality], target: Modality, *, seed: int = 0
) -> float:
    """Error rate of logistic regression from the given modalities, at the test rows where `target` is observed.

    Features are what an encoder would get (classes one-hot); a missing modality becomes its training mean. Trained on
    the rows of `train` where `target` is observed, on a seeded sample of `MOST_ROWS` of them if there are more.

    Returns: a share in [0, 1]; NaN when `target` is never observed in `train`, or never in `test`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labelled = [np.flatnonzero(part.observed[target.name].numpy()) for part in (train, test)]
    if not all(map(len, labelled)):
        return float("nan")
    if len(labelled[0]) > MOST_ROWS:
        labelled[0] = np.sort(np.random.default_rng(seed).choice(labelled[0], MOST_ROWS, replace=False))
    classes, truth = (part.values[target.name].numpy()[rows] for part, rows in zip((train, test), labelled))
    if len(np.unique(classes)) == 1:
        return error_rate(truth, np.full_like(truth, classes[0]))
    features, asked = (_features(part, given, rows) for part, rows in zip((train, test), labelled))
    pipeline = make_pipeline(
        SimpleImputer(keep_empty_features=True), StandardScaler(copy=False), LogisticRegression(max_iter=200)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 iterations are the definition of this baseline
        pipeline.fit(features, classes)
    return error_rate(truth, pipeline.predict(asked))


def _features(data: Dataset, given: Sequence[Modality], rows: np.ndarray) -> np.ndarray:
    """(n, Σ input_size) with NaN where a modality is missing, after a column of ones (nothing may be given)."""
    columns = [np.ones((len(rows), 1), np.float32)]
    for m in given:
        columns.append(m.as_input(data.values[m.name][rows]).numpy().astype(np.float32))
        columns[-1][~data.observed[m.name].numpy()[rows]] = np.nan
    return np.concatenate(columns, 1)


def rmse_of_means(train: Dataset, test: Dataset, target: Modality, label: Modality | None) -> tuple[float, float]:
    """The two anchors of a generated modality: rmse of its training mean, and of the training mean of the true class.

    In input units, over the test rows where `target` is observed; a row whose class is missing or was never seen in
    training gets the overall mean. NaN: the second without a label, both without a row to learn from or to score.
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
    """The anchors of a modality, in nats per test row that has it: those of `Likelihood.anchors`, {} where it has none.

    "nll_global": under the training means (of a class: its share) of every entry; "nll_class": under those of the true
    class, of all where it is missing or was never trained on; "nll_floor": below which no decoder comes (of grey values
    Σ H(x); absent for classes, where it is 0).
    """
    learnt, asked = (part.observed[target.name].nonzero().squeeze(-1) for part in (train, test))
    family = target.family
    if not family.anchors or not len(learnt) or not len(asked):
        return {}
    taught, truth = train.values[target.name][learnt], test.values[target.name][asked]
    overall = family.negative_log_likelihood(target, truth, family.baseline_parameters(target, taught))
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
            rows, of_class = wanted == code, taught[trained == code]
            if len(of_class):
                parameters = family.baseline_parameters(target, of_class)
                by_class[rows] = family.negative_log_likelihood(target, truth[rows], parameters)
        found["nll_class"] = float(by_class.mean())
    return found
