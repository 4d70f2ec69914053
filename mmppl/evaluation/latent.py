"""What a latent tells about a label: linear probes, nearest neighbours and clusters of its posterior means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch

from ..base.quiet import without_warnings
from ..core.program import Program
from ..data.dataset import Dataset
from ..inference.fitted import FittedModel
from ..modalities.kinds import kind
from ..modalities.modality import Modality
from .anchors import MAX_ROWS
from .conditioning import has_all, in_blocks, with_all
from .scores import cluster_agreement, error_rate, precision_apart, precision_at

FEW = 500  # rows in the protocol of Sutter et al.
LINEAR = ("probe500", "probe")
NEIGHBOURS = {"precision1": 1, "precision5": 5, "precision10": 10, "precision50": 50}
APART = {"precision10_apart": 10, "precision50_apart": 50}
GROUP = "recording"  # the annotation that says which rows are not each other's neighbours
PROBES = (*LINEAR, *NEIGHBOURS, *APART, "nmi")


def probes(
    model: FittedModel,
    train: Dataset | None,
    test: Dataset,
    given: Sequence[str],
    labels: Sequence[Modality],
    wanted: Collection[str],
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Compute metrics of the posterior means of z given one conditioning set. The means are computed once for all
    metrics.

    Everything is computed on labelled rows that have all of the given modalities: logistic regressions learn from train
    rows and are tested on test rows; neighbours and clusters use test rows, or `MAX_ROWS` evenly spaced ones if there
    are more.

    Args:
        model: the model.
        train: the train rows; None skips the metrics that learn.
        test: the test rows.
        given: the conditioning set.
        labels: the class labels.
        wanted: names of metrics.
        seed: the seed of draws and samples.

    Returns:
        Those of `wanted` that could be computed.

    Raises:
        UsageError: the program has no latent z, or cannot answer from this set.
    """
    test = with_all(test, given)
    if not len(test):
        return {}
    z = posterior_means(model, test, given, seed)
    train_rows: dict[str, np.ndarray] = {}  # name of a metric → row numbers in `train`
    if train is not None:
        for m in labels:
            rows_of = _train_rows_of(model, train, given, m, seed)
            train_rows |= {name: rows for name, rows in rows_of.items() if name in wanted}
    train_means = {} if train is None else _train_means(model, train, given, train_rows, seed)
    found: dict[str, float] = {}
    for m in labels:
        labelled = test.observed[m.name].numpy()
        truth = test.values[m.name].numpy()
        for way in LINEAR:
            name = f"{way}.{m.name}"
            if train is not None and name in train_means and labelled.any():
                classes = train.values[m.name].numpy()[train_rows[name]]
                asked = z[labelled], truth[labelled]
                found[name] = linear_probe(train_means[name], classes, *asked, standardise=way == "probe")
        seen = np.flatnonzero(labelled)
        if len(seen) > MAX_ROWS:
            seen = seen[np.linspace(0, len(seen) - 1, MAX_ROWS).astype(int)]
        near = [way for way in NEIGHBOURS if f"{way}.{m.name}" in wanted and len(seen) > NEIGHBOURS[way]]
        shares = precision_at(z[seen], truth[seen], [NEIGHBOURS[way] for way in near]) if near else []
        found |= {f"{way}.{m.name}": share for way, share in zip(near, shares)}
        if GROUP in test.annotations and (apart := [way for way in APART if f"{way}.{m.name}" in wanted]):
            group = groups(test.annotations[GROUP][seen])
            others = len(seen) - max(1, int(np.bincount(group[group >= 0], minlength=1).max()))
            apart = [way for way in apart if others >= APART[way]]
            shares = precision_apart(z[seen], truth[seen], group, [APART[way] for way in apart]) if apart else []
            found |= {f"{way}.{m.name}": share for way, share in zip(apart, shares)}
        if f"nmi.{m.name}" in wanted and len(seen) >= m.n_classes:
            found[f"nmi.{m.name}"] = cluster_agreement(z[seen], truth[seen], m.n_classes, seed=seed)
    return found


def groups(annotation: np.ndarray) -> np.ndarray:
    """Number the rows by what they were made from.

    Args:
        annotation: (n,) strings, "" for nothing that another row could share, or integers, negative for the same.

    Returns:
        (n,) numbers from 0 on, −1 for nothing.
    """
    nothing = annotation == "" if annotation.dtype.kind == "U" else annotation < 0
    return np.where(nothing, -1, np.unique(annotation, return_inverse=True)[1])


def posterior_means(model: FittedModel, rows: Dataset, given: Sequence[str], seed: int = 0) -> np.ndarray:
    """Compute the means of z given a conditioning set.

    Args:
        model: the model.
        rows: n rows.
        given: the conditioning set; each row uses what it has of it.
        seed: the seed of the draws.

    Returns:
        (n, D); a row that has nothing of the set gets the mean of the prior.
    """
    parts = in_blocks(model, rows, given=given, want=["z"], seed=seed)
    return np.concatenate([part["z"]["mean"].reshape(len(part["z"]["mean"]), -1) for _, part in parts])


def linear_probe(
    z: np.ndarray, classes: np.ndarray, asked: np.ndarray, truth: np.ndarray, *, standardise: bool
) -> float:
    """Compute the accuracy of logistic regression (lbfgs, at most 1000 iterations, C = 1) from z, on other rows.

    Args:
        z: (n, D) of the rows to learn from.
        classes: (n,) their classes.
        asked: (m, D) of the rows to test on.
        truth: (m,) their classes.
        standardise: whether to standardise z first.

    Returns:
        A share in [0, 1].
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(classes)) == 1:
        return 1 - error_rate(truth, np.full_like(truth, classes[0]))
    if standardise:
        scaler = StandardScaler().fit(z)
        z, asked = scaler.transform(z), scaler.transform(asked)
    with without_warnings(ConvergenceWarning):  # 1000 iterations are the definition of this probe
        probe = LogisticRegression(solver="lbfgs", max_iter=1000, random_state=0).fit(z, classes)
    return 1 - error_rate(truth, probe.predict(asked))


def _train_rows_of(
    model: FittedModel, train: Dataset, given: Sequence[str], label: Modality, seed: int
) -> dict[str, np.ndarray]:
    """Choose the train rows of "probe500.LABEL", some of them more than once, and of "probe.LABEL"; {} without any."""
    has = train.observed[label.name] & has_all(train, given)
    for name in model.program.conditions:
        has = has & train.observed[name]
    rows = np.flatnonzero(has.numpy())
    if not len(rows):
        return {}
    rng = np.random.default_rng(seed)
    few = rng.choice(rows, FEW)
    many = rows if len(rows) <= MAX_ROWS else np.sort(rng.choice(rows, MAX_ROWS, replace=False))
    return {f"probe500.{label.name}": few, f"probe.{label.name}": many}


def _train_means(
    model: FittedModel, train: Dataset, given: Sequence[str], train_rows: Mapping[str, np.ndarray], seed: int
) -> dict[str, np.ndarray]:
    """Compute the posterior means of the train rows of each metric. Every row is asked about once."""
    if not train_rows:
        return {}
    rows = np.unique(np.concatenate(list(train_rows.values())))
    means = posterior_means(model, train.take(torch.from_numpy(rows)), given, seed)
    return {name: means[np.searchsorted(rows, chosen)] for name, chosen in train_rows.items()}


def class_labels(program: Program) -> list[Modality]:
    """List the labels with one class per row.

    Args:
        program: the program.

    Returns:
        The labels.
    """
    return [m for m in program.modalities if m.role == "label" and kind(m) == "class"]
