"""From what each fit did to the ranks and the entrants of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from ...data.dataset import Dataset
from ...data.splits import GROUP
from ...evaluation.comparison.comparison import Entrant
from ...evaluation.comparison.questions import Question
from ...evaluation.comparison.ranking import Answered, Part, rank
from ...evaluation.study import Losses
from .entered import Entered
from .one_fit import Outcome

COLLAPSED = 0.5  # share of the latent dimensions at the prior from which on it is told


def part_of(dataset: Dataset) -> Part:
    """Say which rows of a data set belong together, and how many train and test.

    Args:
        dataset: the data of a fold, or in their own split.

    Returns:
        Units by the annotation `group`, else each row by itself.
    """
    groups = dataset.annotations.get(GROUP)
    units = np.arange(len(dataset)) if groups is None else np.unique(groups, return_inverse=True)[1]
    return Part(units, len(dataset.rows("train")), len(dataset.rows("test")))


def assemble(
    outcomes: Mapping[str, Sequence[Sequence[Outcome]]],
    entered: Entered,
    anchors: Mapping[str, Sequence[Outcome]],
    questions: Sequence[Question],
    parts: Sequence[Part],
    rank_by: str,
) -> tuple[tuple[Entrant, ...], tuple[Answered, ...]]:
    """Rank everybody on each question, and sum up each one's costs and warnings.

    Args:
        outcomes: name → for each part those of its fits.
        entered: who entered.
        anchors: method without a latent → for each part what it did.
        questions: what was asked.
        parts: the test rows of each part.
        rank_by: which measure of a class decides.

    Returns:
        The entrants, and the questions that have an answer.
    """
    every = {**outcomes, **{name: [[one] for one in each] for name, each in anchors.items()}}
    answered = [one for question in questions for one in _ranked(question, every, parts, rank_by)]
    there = {entry.name for one in answered for entry in one.entries}
    entrants = []
    for name, fits in every.items():
        if name in there:
            kind: Literal["program", "run", "baseline"] = "baseline"
            if name not in anchors:
                kind = "run" if name in entered.runs else "program"
            entrants.append(_entrant(name, kind, [fit for part in fits for fit in part]))
    return tuple(entrants), tuple(answered)


def _ranked(
    question: Question, every: Mapping[str, Sequence[Sequence[Outcome]]], parts: Sequence[Part], rank_by: str
) -> list[Answered]:
    """Who answers the question in all parts in which anybody does, ranked."""
    losses: dict[str, list[list[Losses]]] = {
        name: [[fit.measured.losses[question] for fit in fits if question in fit.measured.losses] for fits in of_parts]
        for name, of_parts in every.items()
    }
    there = [i for i in range(len(parts)) if any(of_parts[i] for of_parts in losses.values())]
    complete = {
        name: [losses[name][i] for i in there]
        for name, fits in every.items()
        if there and all(len(losses[name][i]) == len(fits[i]) for i in there)
    }
    distrusted = [
        name
        for name, fits in every.items()
        if question.evidence and any(fit.measured.distrusted for part in fits for fit in part)
    ]
    return rank(question, complete, [parts[i] for i in there], rank_by, distrusted) if complete else []


def _entrant(name: str, kind: Literal["program", "run", "baseline"], fits: Sequence[Outcome]) -> Entrant:
    seconds = [fit.seconds for fit in fits if fit.seconds is not None]
    memory = [fit.memory for fit in fits if fit.memory is not None]
    each = [seconds for fit in fits for seconds in fit.measured.seconds.values()]
    return Entrant(
        name=name,
        kind=kind,
        fits=() if kind == "baseline" else tuple(fit.name for fit in fits),
        seconds=float(np.mean(seconds)) if seconds else None,
        per_row=float(np.mean(each)) if each else None,
        memory=max(memory) if memory else None,
        warnings=_warnings(fits),
    )


def _warnings(fits: Sequence[Outcome]) -> tuple[str, ...]:
    """Each finding once, whatever its numbers are in each fit, and how many fits have it; collapse first."""
    lines = []
    collapsed = [fit.measured.collapsed for fit in fits if fit.measured.collapsed is not None]
    if collapsed and max(collapsed) >= COLLAPSED:
        lines.append(f"{np.mean(collapsed):.0%} of the latent dimensions are at the prior")
    counted: dict[str, list[str]] = {}
    for fit in fits:
        for warning in fit.measured.warnings:
            counted.setdefault(warning.partition(" (")[0], []).append(warning)
    for start, found in counted.items():
        lines.append(found[0] if len(fits) == 1 else f"{start} (in {len(found)} of {len(fits)} fits)")
    return tuple(lines)
