"""Ranking models on each question, with paired differences to the best one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..study import Losses
from .measures import Measure, measures_of
from .paired import Design, level, paired_difference
from .questions import Question


@dataclass(frozen=True)
class Entry:
    """How well one model or method answers one question.

    Args:
        name: of the model or method.
        value: the mean loss, in the units of the measure.
        rank: 1 for the smallest; equal ones share the mean of their ranks.
        difference: to the smallest value, 0 for the best itself.
        se: the standard error of the difference, paired; None where there is none.
        df: its degrees of freedom.
        se_rows: the standard error over rows alone, with the fits as they are; None where there is none.
        ties: whether it is the best, or not different from it: 0 lies inside the 95 % interval of the difference. False
            where there is no standard error, which would judge.
    """

    name: str
    value: float
    rank: float
    difference: float
    se: float | None
    df: float
    se_rows: float | None
    ties: bool


@dataclass(frozen=True)
class Answered:
    """One question by one measure.

    Args:
        question: what was asked.
        measure: by which loss.
        n: the rows that all entries are compared on.
        entries: from the best to the worst.
        decides: whether the ranks by this measure are those of the question.
    """

    question: Question
    measure: Measure
    n: int
    entries: tuple[Entry, ...]
    decides: bool = True


@dataclass(frozen=True)
class Part:
    """The test rows of one fold, or of the data's own split.

    Args:
        units: (N,) integers, the same for rows of the data set that are not independent.
        learnt: number of training rows.
        tested: number of test rows.
    """

    units: np.ndarray
    learnt: int
    tested: int


def rank(
    question: Question,
    losses: Mapping[str, Sequence[Sequence[Losses]]],
    parts: Sequence[Part],
    rank_by: str = "log_loss",
    distrusted: Collection[str] = (),
) -> list[Answered]:
    """Rank what answers a question, by each of its measures.

    Args:
        question: what was asked.
        losses: name → for each part (fold) the losses of each fit (seed) on its rows.
        parts: the parts; several are folds.
        rank_by: see `measures_of`.
        distrusted: names whose losses are estimates that cannot be trusted: no standard error is told.

    Returns:
        One for each measure that all entries have, the one that decides first; none where there is no common row.
    """
    rows = [_common([fits[part] for fits in losses.values()]) for part in range(len(parts))]
    n = sum(map(len, rows))
    if not n:
        return []
    weights = np.concatenate([_of_rows(next(iter(losses.values()))[i][0], r, "weights") for i, r in enumerate(rows)])
    units = np.concatenate([part.units[r] for part, r in zip(parts, rows)])
    folds = np.repeat(np.arange(len(parts)), [len(r) for r in rows]) if len(parts) > 1 else None
    share = float(np.mean([part.tested / part.learnt for part in parts]))
    design = Design(weights, np.unique(units, return_inverse=True)[1], folds, share)
    names = [set(fit.own) for fits in losses.values() for part in fits for fit in part]
    found: list[Answered] = []
    for measure in measures_of(sorted(set.intersection(*names)), rank_by):
        values = {
            name: np.concatenate([_stacked(fits[i], r, measure.loss) for i, r in enumerate(rows)], axis=1)
            for name, fits in losses.items()
        }
        entries = _entries(values, design, measure, frozenset(distrusted))
        found.append(Answered(question, measure, n, entries, decides=not found))
    return found


def _entries(
    values: Mapping[str, np.ndarray], design: Design, measure: Measure, distrusted: frozenset[str]
) -> tuple[Entry, ...]:
    from scipy.stats import rankdata

    root = measure.root
    means = {name: float(level(losses, design.weights, root=root).mean()) for name, losses in values.items()}
    ranks = dict(zip(means, rankdata(list(means.values()))))
    order = sorted(means, key=means.__getitem__)
    best, entries = order[0], []
    for name in order:
        if name == best:
            entries.append(Entry(name, means[name], float(ranks[name]), 0.0, None, 0.0, None, True))
            continue
        found = paired_difference(values[name], values[best], design, root=root)
        known = not (np.isnan(found.se) or {name, best} & distrusted)
        se, se_rows = (found.se, found.se_rows) if known else (None, None)
        ties = known and not found.differs
        entries.append(Entry(name, means[name], float(ranks[name]), found.value, se, found.df, se_rows, ties))
    return tuple(entries)


def _common(fits: Sequence[Sequence[Losses]]) -> np.ndarray:
    """The rows that every fit has answered, in order."""
    found = fits[0][0].rows
    for losses in (one for fit in fits for one in fit):
        found = np.intersect1d(found, losses.rows)
    return found


def _stacked(fits: Sequence[Losses], rows: np.ndarray, loss: str) -> np.ndarray:
    """(fits, n)"""
    return np.stack([_of_rows(fit, rows, loss) for fit in fits])


def _of_rows(fit: Losses, rows: np.ndarray, what: str) -> np.ndarray:
    """(n,) weights or losses of some of the rows, which are in order."""
    values = fit.weights if what == "weights" else fit.own[what]
    return values[np.searchsorted(fit.rows, rows)]


def mean_ranks(answered: Sequence[Answered], names: Sequence[str]) -> dict[str, float | None]:
    """Average the ranks of models over the questions that all of them answer.

    Args:
        answered: the questions; only the measures that decide count.
        names: of the models, which are ranked among each other: methods that are not named do not count.

    Returns:
        name → mean rank; None where there is no such question.
    """
    from scipy.stats import rankdata

    ranks = []
    for one in (one for one in answered if one.decides):
        values = {entry.name: entry.value for entry in one.entries}
        if all(name in values for name in names):
            ranks.append(rankdata([values[name] for name in names]))
    return dict(zip(names, np.mean(ranks, 0).tolist())) if ranks else dict.fromkeys(names)


def times_best(answered: Sequence[Answered]) -> dict[str, tuple[int, int]]:
    """Count how often each model or method is the best, or not different from it.

    Args:
        answered: the questions; only the measures that decide count.

    Returns:
        name → (this number, the questions that it answers).
    """
    found: dict[str, tuple[int, int]] = {}
    for one in (one for one in answered if one.decides):
        for entry in one.entries:
            times, of = found.get(entry.name, (0, 0))
            found[entry.name] = times + entry.ties, of + 1
    return found
