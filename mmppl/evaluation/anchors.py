"""Anchors: what simple methods without a latent predict, from the same given modalities and for the same rows.

Features are what an encoder would see (classes one-hot), beside one indicator per given modality that says whether it
is missing; of a sequence the mean and the standard deviation of each feature over its steps, and their number. A step
or cell of numbers that a training row lacks counts as the mean of that step or cell over the rows that have it; a tag
or class is learnt from the rows that have it. An anchor learns from the train rows that have the target and any of what
is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..base.quiet import without_warnings
from ..data.dataset import Dataset
from ..modalities.kinds import kind
from ..modalities.modality import Modality
from .survival.anchors import kaplan_meier_median, weibull_regression

MAX_ROWS = 10_000  # rows that an anchor learns from, a seeded sample if there are more
MAX_COLUMNS = 20  # targets of more numbers or positions are not boosted; of more positions have no linear anchor
ALPHAS = tuple(10.0**power for power in range(-2, 5))  # of ridge regression on standardised features
ITERATIONS, TREES = 200, 100
NONE = -1  # the code of a position that a row lacks
# Seconds of one core, fitted to a few sizes on an AMD EPYC: multiply-adds; a bin of a histogram; the least of a tree.
PER_PRODUCT, PER_BIN, PER_TREE = 1e-10, 1.3e-8, 2e-3


def predict(
    way: str,
    train: Dataset,
    rows: Dataset,
    given: Sequence[Modality],
    target: Modality,
    *,
    label: Modality | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Predict a modality without a latent.

    Args:
        way: "global", the training mean, or of classes their training shares (½ more of each); "class", the training
            mean of the true class, which knows what no other anchor knows; "linear", ridge regression of numbers with
            its penalty by leave-one-out in closed form, or logistic regression of classes, both on standardised
            mean-imputed features; "boosting", histogram gradient boosting, in which missing values go their own way.
        train: the training rows, in model units.
        rows: the n rows to predict.
        given: the modalities to predict from.
        target: the modality to predict.
        label: the class label, for "class".
        seed: the seed of the sample of rows and of the boosting.

    Returns:
        For classes "prob", (n, *shape, K); for tags "mean", (n, *shape) probabilities of each by itself; for numbers
        "mean", (n, *shape) in input units, and, except for "class" and "boosting", "std", (*shape): the sd of the
        training values, or of the leave-one-out errors. {} if there is nothing to learn from, if the target is too wide
        (`MAX_COLUMNS`), or for a boosted sequence. For survival times "q50", (n, *shape), of "global" the Kaplan–Meier
        median and of "linear" that of a Weibull regression; {} of other ways.
    """
    learnt = np.flatnonzero(train.observed[target.name].numpy())
    if not len(learnt) or not len(rows):
        return {}
    numbers, survival = target.family.values != "classes", kind(target) == "survival"
    if way == "class":
        return _class_means(train, rows, target, label) if numbers and label is not None else {}
    if way != "global" and given:
        any_given = np.any([train.observed[m.name].numpy()[learnt] for m in given], 0)
        learnt = learnt[any_given]
        if len(learnt) < 2 or not _has(way, target):
            return {}
    if len(learnt) > MAX_ROWS and way != "global":
        learnt = np.sort(np.random.default_rng(seed).choice(learnt, MAX_ROWS, replace=False))
    values, factor = _values(train, target, learnt), _spread(train, target, learnt)
    if survival and (way == "global" or not given):
        return {"q50": np.full((len(rows), *target.shape), kaplan_meier_median(values.ravel()))}
    if way == "global" or not given:
        found = _global(target, values, len(rows))
        return found | {"std": found["std"] * factor} if numbers else found
    columns = values.reshape(len(learnt), -1)
    known, asked = features(train, given, learnt), features(rows, given, np.arange(len(rows)))
    if way == "linear":
        known, asked = imputed(known, asked)
    if survival:
        return {"q50": weibull_regression(known, values.ravel(), asked).reshape(len(rows), *target.shape)}
    if not numbers:
        fit = _logistic if way == "linear" else _boosted_classes
        probs = [_class_probabilities(fit, known, asked, column, target.n_classes, seed) for column in columns.T]
        return {"prob": np.stack(probs, 1).reshape(len(rows), *target.shape, target.n_classes)}
    own = _there(train, target, learnt).reshape(columns.shape)
    if kind(target) == "tags" and np.isin(columns[own], (0, 1)).all():
        fit, codes = _logistic if way == "linear" else _boosted_classes, np.where(own, columns, NONE).astype(int)
        yes = [_class_probabilities(fit, known, asked, column, 2, seed)[:, 1] for column in codes.T]
        return {"mean": np.stack(yes, 1).reshape(len(rows), *target.shape)}
    centre, spread = columns.mean(0), columns.std(0)
    spread[spread == 0] = 1
    columns = (columns - centre) / spread  # so that neither penalty nor histograms depend on the units
    if way == "linear":
        mean, std = _ridge(known, asked, columns)
        return {
            "mean": (centre + spread * mean).reshape(len(rows), *target.shape),
            "std": (spread * std).reshape(target.shape) * factor,
        }
    of_each = [_boosted_numbers(known[there], asked, column[there], seed) for column, there in zip(columns.T, own.T)]
    mean = np.stack(of_each, 1)
    return {"mean": (centre + spread * mean).reshape(len(rows), *target.shape)}


def seconds(way: str, n: int, given: Sequence[Modality], target: Modality) -> float:
    """Estimate how long an anchor takes on one core, from the sizes alone, so that it is the same on every machine.

    Args:
        way: as in `predict`.
        n: the number of training rows.
        given: the modalities to predict from.
        target: the modality to predict.

    Returns:
        Seconds; 0 for an anchor that is not computed.
    """
    n, p = min(n, MAX_ROWS), sum(_columns(m) + 1 for m in given)
    classes = 1 if kind(target) in ("tags", "survival") else target.n_classes
    if way in ("global", "class") or not _has(way, target):
        return 0.0
    if way == "linear":
        ridge = (10 * p + 2 * len(ALPHAS) * target.size) * n * min(n, p)
        return PER_PRODUCT * (4 * ITERATIONS * n * p * classes * target.size if classes else ridge)
    trees = TREES * target.size * (classes if classes > 2 else 1)
    return trees * (PER_TREE + PER_BIN * p * (n + 256 * min(31, n / 20)))


def _has(way: str, target: Modality) -> bool:
    """Whether there is a linear or boosted anchor: no linear one of many positions, and none boosted of sequences."""
    if way == "linear" and not target.n_classes and kind(target) != "tags":
        return True
    if kind(target) == "survival":
        return False
    return (
        target.size <= MAX_COLUMNS
        and not target.sequence
        and (way == "linear" or not (target.n_classes and target.shape))
    )


def _values(data: Dataset, m: Modality, rows: np.ndarray) -> np.ndarray:
    """(n, *shape) class codes, or numbers in input units in float64. Steps and cells that a row lacks are NONE, or the
    mean of that step or cell."""
    values, there = data.values[m.name].numpy()[rows], _there(data, m, rows)
    if m.family.values == "classes":
        return np.where(there, values, NONE) if m.name in data.present else values
    values = np.asarray(m.value_in_input_units(values), np.float64)
    if m.name not in data.present:
        return values
    with without_warnings(RuntimeWarning):  # steps that no row has
        mean = np.where(there, values, np.nan)
        mean = np.where(there.any(0), np.nanmean(mean, 0), np.nanmean(mean, (0, 1)))
    return np.where(there, values, mean)


def _there(data: Dataset, m: Modality, rows: np.ndarray) -> np.ndarray:
    """(n, *shape) bool, the elements that rows have, of rows that have the modality."""
    shape = (len(rows), *m.shape)
    if m.name not in data.present:
        return np.ones(shape, dtype=bool)
    return np.broadcast_to(data.present[m.name].numpy()[rows], shape)


def _spread(data: Dataset, m: Modality, rows: np.ndarray) -> np.ndarray | float:
    """The factor by which what is filled in makes the spread of each step or cell too small."""
    if m.name not in data.present:
        return 1.0
    return np.sqrt(len(rows) / np.maximum(data.present[m.name].numpy()[rows].sum(0), 1))


def _global(target: Modality, values: np.ndarray, n: int) -> dict[str, np.ndarray]:
    if target.family.values == "classes":
        codes = np.arange(target.n_classes)
        number = (values != NONE).sum(0)[..., None]
        shares = ((values[..., None] == codes).sum(0) + 0.5) / (number + 0.5 * target.n_classes)
        return {"prob": np.broadcast_to(shares, (n, *shares.shape))}
    return {"mean": np.broadcast_to(values.mean(0), (n, *target.shape)), "std": values.std(0)}


def _class_means(train: Dataset, rows: Dataset, target: Modality, label: Modality) -> dict[str, np.ndarray]:
    """The training mean of the true class; of all rows where the class is missing or was never seen in training."""
    learnt = np.flatnonzero(train.observed[target.name].numpy())
    values = _values(train, target, learnt)
    trained, wanted = (
        np.where(part.observed[label.name].numpy(), part.values[label.name].numpy(), -1) for part in (train, rows)
    )
    trained = trained[learnt]
    mean = np.broadcast_to(values.mean(0), (len(rows), *target.shape)).copy()
    for code in np.intersect1d(trained, wanted):
        if code >= 0:
            mean[wanted == code] = values[trained == code].mean(0)
    return {"mean": mean}


def features(data: Dataset, given: Sequence[Modality], rows: np.ndarray) -> np.ndarray:
    """Collect what an encoder would see of some modalities, and which of them are missing.

    Args:
        data: the data set, in model units.
        given: the modalities.
        rows: (n,) row numbers.

    Returns:
        (n, p): of each modality its columns, NaN where it or a cell of it is missing, and whether it is missing.
    """
    columns = []
    for m in given:
        missing = ~data.observed[m.name].numpy()[rows]
        values = _pooled(data, m, rows) if m.sequence else m.family.as_input(m, data.values[m.name][rows]).numpy()
        values = values.astype(np.float32)
        if m.name in data.present and not m.sequence:
            there = _there(data, m, rows).reshape(len(rows), -1)
            values[~there.repeat(values.shape[1] // m.size, 1)] = np.nan
        values[missing] = np.nan
        columns += [values, missing[:, None].astype(np.float32)]
    return np.concatenate(columns, 1)


def _columns(m: Modality) -> int:
    """The number of features that an anchor takes of a modality."""
    return 2 * (m.input_size // m.shape[0] - 1) + 1 if m.sequence else m.family.input_size(m)


def _pooled(data: Dataset, m: Modality, rows: np.ndarray) -> np.ndarray:
    """(n, 2 F + 1): the mean and the standard deviation of each feature over the steps of a row, and their number."""
    there = data.present[m.name][rows]
    steps = m.as_input(data.values[m.name][rows], there).unflatten(1, (m.shape[0], -1))[..., :-1].double()
    number = there.sum(1)
    mean = steps.sum(1) / number.clamp_min(1)
    spread = (torch.where(there, steps - mean.unsqueeze(1), 0.0).square().sum(1) / number.clamp_min(1)).sqrt()
    return torch.cat([mean, spread, number], 1).numpy()


def imputed(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Replace NaN by the mean of its column, and standardise, as learnt from the rows to learn from.

    Args:
        known: (n, p) of the rows to learn from.
        asked: (m, p) of the rows to predict.

    Returns:
        Both, without NaN.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(copy=False)).fit(known)
    return pipeline.transform(known), pipeline.transform(asked)


def _ridge(known: np.ndarray, asked: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (n, columns), and the root mean squared leave-one-out error of each column."""
    from sklearn.linear_model import RidgeCV

    ridge = RidgeCV(ALPHAS, alpha_per_target=True).fit(known.astype(np.float64), values)
    return ridge.predict(asked.astype(np.float64)), np.sqrt(np.maximum(-np.asarray(ridge.best_score_), 0))


def _class_probabilities(
    fit: Callable[..., tuple[np.ndarray, np.ndarray]],
    known: np.ndarray,
    asked: np.ndarray,
    codes: np.ndarray,
    n_classes: int,
    seed: int,
) -> np.ndarray:
    """(n, K); a class that no training row has gets 0. Rows whose code is NONE do not count."""
    prob = np.zeros((len(asked), n_classes))
    known, codes = known[codes != NONE], codes[codes != NONE]
    if not len(codes):
        return prob + 1 / n_classes
    if len(np.unique(codes)) == 1:
        prob[:, codes[0]] = 1
        return prob
    classes, found = fit(known, asked, codes, seed)
    prob[:, classes] = found
    return prob


def _logistic(known: np.ndarray, asked: np.ndarray, codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with without_warnings(ConvergenceWarning):  # so many iterations are the definition of this anchor
        found = LogisticRegression(max_iter=ITERATIONS).fit(known, codes)
    return found.classes_, found.predict_proba(asked)


def _boosted_classes(
    known: np.ndarray, asked: np.ndarray, codes: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    found = HistGradientBoostingClassifier(max_iter=TREES, early_stopping=False, random_state=seed)
    return found.fit(known, codes).classes_, found.predict_proba(asked)


def _boosted_numbers(known: np.ndarray, asked: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.ensemble import HistGradientBoostingRegressor

    found = HistGradientBoostingRegressor(max_iter=TREES, early_stopping=False, random_state=seed)
    return found.fit(known, values).predict(asked)


def interval(prediction: dict[str, np.ndarray], level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Return the central interval of a prediction's Gaussian.

    Args:
        prediction: "mean" and "std", from `predict`.
        level: the probability of the interval.

    Returns:
        Its lower and upper ends, (n, *shape) each.
    """
    from scipy.special import ndtri

    half = float(ndtri(0.5 + level / 2)) * prediction["std"]
    return prediction["mean"] - half, prediction["mean"] + half
