"""What a latent knows of a label: linear probes, nearest neighbours and clusters of its posterior means."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..core.program import Program
from ..data.dataset import Dataset
from ..inference.fitted import FittedModel
from ..modalities.modality import Modality, kind
from .baselines import MOST_ROWS
from .conditioning import in_blocks, sees
from .scores import cluster_agreement, error_rate, precision_at

FEW = 500  # rows of the protocol of Sutter et al.
LEARNT = ("probe500", "probe")
NEIGHBOURS = {"precision1": 1, "precision5": 5, "precision10": 10}
PROBES = (*LEARNT, *NEIGHBOURS, "nmi")


def probes(
    model: FittedModel,
    train: Dataset | None,
    test: Dataset,
    given: Sequence[str],
    labels: Sequence[Modality],
    wanted: Sequence[str],
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Those of `wanted` that the posterior means of z given one conditioning set have; the means are computed once for
    all.

    Logistic regressions learn from labelled train rows that have any of what is given, and are judged at every labelled
    test row; neighbours and clusters are of labelled test rows that have any of it, of `MOST_ROWS` evenly spaced ones
    if there are more.

    Raises: UsageError for a program without a latent z, or one that cannot answer from the conditioning set.
    """
    z = posterior_means(model, test, given, seed)
    lessons: dict[str, np.ndarray] = {}  # name of a metric → row numbers in `train`
    if train is not None:
        for m in labels:
            rows_of = _train_rows_of(model, train, given, m, seed)
            lessons |= {name: rows for name, rows in rows_of.items() if name in wanted}
    learnt = {} if train is None else _learnt(model, train, given, lessons, seed)
    found: dict[str, float] = {}
    for m in labels:
        labelled = test.observed[m.name].numpy()
        truth = test.values[m.name].numpy()
        for way in LEARNT:
            name = f"{way}.{m.name}"
            if train is not None and name in learnt and labelled.any():
                classes = train.values[m.name].numpy()[lessons[name]]
                asked = z[labelled], truth[labelled]
                found[name] = linear_probe(learnt[name], classes, *asked, standardise=way == "probe")
        seen = np.flatnonzero(labelled & sees(test, given).numpy())
        if len(seen) > MOST_ROWS:
            seen = seen[np.linspace(0, len(seen) - 1, MOST_ROWS).astype(int)]
        near = [way for way in NEIGHBOURS if f"{way}.{m.name}" in wanted and len(seen) > NEIGHBOURS[way]]
        shares = precision_at(z[seen], truth[seen], [NEIGHBOURS[way] for way in near]) if near else []
        found |= {f"{way}.{m.name}": share for way, share in zip(near, shares)}
        if f"nmi.{m.name}" in wanted and len(seen) >= m.n_classes:
            found[f"nmi.{m.name}"] = cluster_agreement(z[seen], truth[seen], m.n_classes, seed=seed)
    return found


def posterior_means(model: FittedModel, rows: Dataset, given: Sequence[str], seed: int = 0) -> np.ndarray:
    """(n, D) means of z given a conditioning set, each row by what it has of it; the prior's mean for a row that has
    nothing of it."""
    parts = in_blocks(model, rows, given=given, want=["z"], seed=seed)
    return np.concatenate([part["z"]["mean"].reshape(len(part["z"]["mean"]), -1) for _, part in parts])


def linear_probe(
    z: np.ndarray, classes: np.ndarray, asked: np.ndarray, truth: np.ndarray, *, standardise: bool
) -> float:
    """Accuracy, in [0, 1], of logistic regression (lbfgs, at most 1000 iterations, C = 1) from z at other rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(classes)) == 1:
        return 1 - error_rate(truth, np.full_like(truth, classes[0]))
    if standardise:
        scaler = StandardScaler().fit(z)
        z, asked = scaler.transform(z), scaler.transform(asked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 1000 iterations are the definition of this probe
        probe = LogisticRegression(solver="lbfgs", max_iter=1000, random_state=0).fit(z, classes)
    return 1 - error_rate(truth, probe.predict(asked))


def _train_rows_of(
    model: FittedModel, train: Dataset, given: Sequence[str], label: Modality, seed: int
) -> dict[str, np.ndarray]:
    """ "probe500.LABEL" and "probe.LABEL" → their train rows, of the first some more than once; {} without any."""
    has = train.observed[label.name] & sees(train, given)
    for name in model.program.conditions:
        has = has & train.observed[name]
    rows = np.flatnonzero(has.numpy())
    if not len(rows):
        return {}
    rng = np.random.default_rng(seed)
    few = rng.choice(rows, FEW)
    many = rows if len(rows) <= MOST_ROWS else np.sort(rng.choice(rows, MOST_ROWS, replace=False))
    return {f"probe500.{label.name}": few, f"probe.{label.name}": many}


def _learnt(
    model: FittedModel, train: Dataset, given: Sequence[str], lessons: Mapping[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """The posterior means of each lesson's rows; every row is asked about once."""
    if not lessons:
        return {}
    rows = np.unique(np.concatenate(list(lessons.values())))
    means = posterior_means(model, train.take(torch.from_numpy(rows)), given, seed)
    return {name: means[np.searchsorted(rows, chosen)] for name, chosen in lessons.items()}


def class_labels(program: Program) -> list[Modality]:
    """The labels with one class per row."""
    return [m for m in program.modalities if m.role == "label" and kind(m) == "class"]
