"""The losses of single test rows, of a fitted model and of simple methods without a latent."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...data.dataset import Dataset
from ...inference.fitted import FittedModel
from ...modalities.modality import Modality
from ..anchors import predict, seconds
from ..conditioning import has_all, row_numbers_to_ask, sample, set_name
from ..evaluate import BOOSTING, measure, metric_names
from ..findings import entries_of_each, losses_of
from ..study import Losses, Target, existing, truth_of
from .questions import Question

METRICS = ("error", "log_loss", "rmse", "time_error", "collapse")  # those that ask for what has losses, and collapse
WAYS = {"global": "mean or majority", "linear": "ridge or logistic", "boosting": "gradient boosting"}
"""Methods without a latent, in words."""


@dataclass(frozen=True)
class Measured:
    """What one fitted model did on the test rows of a data set.

    Args:
        losses: question → the losses of its rows, which are numbers of rows of the data set.
        seconds: conditioning set → seconds per row of the answers from it.
        warnings: in a line each.
        collapsed: the share of the latent dimensions at the prior; None where there is no such curve.
    """

    losses: Mapping[Question, Losses]
    seconds: Mapping[tuple[str, ...], float]
    warnings: tuple[str, ...] = ()
    collapsed: float | None = None


def losses_of_model(
    model: FittedModel,
    dataset: Dataset,
    questions: Sequence[Question],
    *,
    draws: int = 32,
    seed: int = 0,
    log: Callable[[str], None] | None = None,
) -> Measured:
    """Ask a model that was fitted on a data set all questions about its test rows.

    Args:
        model: the model.
        dataset: the data of its fit.
        questions: those that the program can answer.
        draws: latent draws per row.
        seed: of the draws.
        log: receives one line per conditioning set.

    Returns:
        The losses, and what `evaluate` warns of.
    """
    sets = list(dict.fromkeys(question.given for question in questions))
    model.fitted_on = dataset
    names = [name for name in metric_names(model.program) if name.partition(".")[0] in METRICS]
    found, study = measure(model, metrics=names, conditioning_sets=sets, draws=draws, seed=seed, log=log)
    numbers, _ = row_numbers_to_ask(model.program, dataset, "test")
    at = numbers.numpy()
    losses = {
        Question(given, name): replace(loss, rows=at[loss.rows])
        for (name, given), loss in study.losses.items()
        if Question(given, name) in questions and loss.own
    }
    curve = found["metrics"].get("collapse")
    warnings = (*model.warnings(dataset), *found["warnings"])
    return Measured(losses, study.seconds, warnings, curve and curve["fraction"][1])


def losses_without_latent(
    way: str, dataset: Dataset, questions: Sequence[Question], *, seed: int = 0
) -> Measured:
    """Predict what the questions ask about without a latent model, from the training rows of a data set.

    Args:
        way: a key of `WAYS`, see `mmppl.evaluation.anchors.predict`.
        dataset: the data.
        questions: given which modalities, which one is predicted.
        seed: of what is drawn.

    Returns:
        The losses; questions that this method cannot answer are left out. Seconds are those of fit and prediction.
    """
    rows = sample(dataset, dataset.rows("test"))
    train, test = dataset.take(sample(dataset, dataset.rows("train"))), dataset.take(rows)
    found, took = dict[Question, Losses](), dict[tuple[str, ...], float]()
    for question in questions:
        m, given = named(dataset, question.target), [named(dataset, name) for name in question.given]
        at = (has_all(test, question.given) & test.observed[m.name]).nonzero().squeeze(-1)
        scored = test.take(at)
        began = time.perf_counter()
        answer = existing(scored, m, predict(way, train, scored, given, m, seed=seed))
        spent = time.perf_counter() - began
        if not answer:
            continue
        target = Target(None, m, question.given, truth_of(scored, m), answer, scored)  # type: ignore[arg-type]
        own = losses_of(target, answer)
        found[question] = Losses(rows[at].numpy(), own, {}, entries_of_each(target))
        took[question.given] = took.get(question.given, 0.0) + spent / len(at)
    return Measured(found, took)


def affordable(
    dataset: Dataset, questions: Sequence[Question], ways: Sequence[str] | None, log: Callable[[str], None]
) -> list[str]:
    """Choose the methods without a latent that stand beside the models.

    Args:
        dataset: the data.
        questions: what is asked.
        ways: those that are wanted, whatever they take; None: all, but boosting only where it is estimated to take at
            most `BOOSTING` seconds.
        log: receives a line where it is left out.

    Returns:
        Keys of `WAYS`.
    """
    if ways is not None:
        return list(ways)
    n = len(dataset.rows("train"))
    sizes = [(n, [named(dataset, name) for name in q.given], named(dataset, q.target)) for q in questions]
    needed = sum(seconds("boosting", *size) for size in sizes)
    if needed <= BOOSTING:
        return list(WAYS)
    log(f"no gradient boosting, which would take about {needed:.0f} s per fit (--baseline boosting)")
    return [way for way in WAYS if way != "boosting"]


def named(dataset: Dataset, name: str) -> Modality:
    """Return the modality of that name."""
    return next(m for m in dataset.modalities if m.name == name)
