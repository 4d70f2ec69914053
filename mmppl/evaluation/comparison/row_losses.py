"""The losses of single test rows, of a fitted model and of simple methods without a latent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...data.dataset import Dataset
from ...errors import UsageError
from ...inference.fitted import FittedModel
from ...inference.psis import MAX_KHAT
from ...modalities.modality import Modality
from ..anchors import predict, seconds
from ..conditioning import has_all, row_numbers_to_ask, sample
from ..evaluate import BOOSTING, measure, metric_names
from ..findings import entries_of_each, losses_of
from ..likelihood import MAX_DISTRUSTED, evidence_of_rows
from ..study import Losses, Target, existing, truth_of
from .measures import NATS
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
        distrusted: whether the evidence cannot be trusted, because of k̂ in too many rows.
    """

    losses: Mapping[Question, Losses]
    seconds: Mapping[tuple[str, ...], float]
    warnings: tuple[str, ...] = ()
    collapsed: float | None = None
    distrusted: bool = False


def losses_of_model(
    model: FittedModel,
    dataset: Dataset,
    questions: Sequence[Question],
    *,
    draws: int = 32,
    evidence_draws: int = 128,
    seed: int = 0,
) -> Measured:
    """Ask a model that was fitted on a data set all questions about its test rows.

    Args:
        model: the model.
        dataset: the data of its fit.
        questions: those that the program can answer.
        draws: latent draws per row.
        evidence_draws: the same for the evidence.
        seed: of the draws.

    Returns:
        The losses, and what `evaluate` warns of.
    """
    sets = list(dict.fromkeys(question.given for question in questions if not question.evidence))
    model.fitted_on = dataset
    names = [name for name in metric_names(model.program) if name.partition(".")[0] in METRICS]
    found, study = measure(model, metrics=names, conditioning_sets=sets, draws=draws, seed=seed)
    numbers, _ = row_numbers_to_ask(model.program, dataset, "test")
    at = numbers.numpy()
    losses = {
        Question(given, name): replace(loss, rows=at[loss.rows])
        for (name, given), loss in study.losses.items()
        if Question(given, name) in questions and loss.own
    }
    curve = found["metrics"].get("collapse")
    warnings, distrusted = [*model.warnings(dataset), *found["warnings"]], False
    for question in (question for question in questions if question.evidence):
        try:
            rows, nats, share = evidence_of_rows(model, study.test, evidence_draws, seed)
        except UsageError as error:
            warnings.append(f"no evidence: {error}")
            continue
        losses[question] = Losses(at[rows], {NATS: -nats}, {}, np.ones(len(rows), np.int64))
        distrusted = share > MAX_DISTRUSTED
        if share:
            warnings.insert(0, f"k̂ above {MAX_KHAT} in {share:.0%} of the rows: their ln p cannot be trusted")
    return Measured(losses, study.seconds, tuple(warnings), curve and curve["fraction"][1], distrusted)


def losses_without_latent(way: str, dataset: Dataset, questions: Sequence[Question], *, seed: int = 0) -> Measured:
    """Predict what the questions ask about without a latent model, from the training rows of a data set.

    Args:
        way: a key of `WAYS`, see `mmppl.evaluation.anchors.predict`.
        dataset: the data.
        questions: given which modalities, which one is predicted.
        seed: of what is drawn.

    Returns:
        The losses; questions that this method cannot answer are left out.
    """
    rows = sample(dataset, dataset.rows("test"))
    train, test = dataset.take(sample(dataset, dataset.rows("train"))), dataset.take(rows)
    found = dict[Question, Losses]()
    for question in (question for question in questions if not question.evidence):
        m, given = named(dataset, question.target), [named(dataset, name) for name in question.given]
        at = (has_all(test, question.given) & test.observed[m.name]).nonzero().squeeze(-1)
        scored = test.take(at)
        answer = existing(scored, m, predict(way, train, scored, given, m, seed=seed))
        if not answer:
            continue
        target = Target(None, m, question.given, truth_of(scored, m), answer, scored)  # type: ignore[arg-type]
        own = losses_of(target, answer)
        found[question] = Losses(rows[at].numpy(), own, {}, entries_of_each(target))
    return Measured(found, {})


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
    sizes = [
        (n, [named(dataset, name) for name in question.given], named(dataset, question.target))
        for question in questions
        if not question.evidence
    ]
    needed = sum(seconds("boosting", *size) for size in sizes)
    if needed <= BOOSTING:
        return list(WAYS)
    log(f"no gradient boosting, which would take about {needed:.0f} s per fit (--baseline boosting)")
    return [way for way in WAYS if way != "boosting"]


def named(dataset: Dataset, name: str) -> Modality:
    """Return the modality of that name."""
    return next(m for m in dataset.modalities if m.name == name)
