"""One fit of one contender: fitted or taken from its folder, then asked all questions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...base.files import read_regular, write_json
from ...base.memory import forget_peak, peak
from ...core.loading import use_file
from ...evaluation.comparison.questions import Question
from ...evaluation.comparison.row_losses import Measured, losses_of_model
from ...runs.run import Run
from ..fit import fit
from ..folds.source import Source
from .contender import Contender


@dataclass(frozen=True)
class Task:
    """What is fitted, on what, and what it is asked.

    Args:
        contender: the program with its settings.
        part: the number of the fold, or 0.
        seed: of the fit and of the draws.
        questions: those that the program can answer.
        place: the run folder; None: nothing is kept.
        settings: of `mmppl.fit`.
        draws: latent draws per row.
        evidence_draws: the same for the evidence.
        use: files of the user's own to be executed first.
    """

    contender: Contender
    part: int
    seed: int
    questions: Sequence[Question]
    place: Path | None
    settings: Mapping[str, Any]
    draws: int = 32
    evidence_draws: int = 128
    use: Sequence[str | Path] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a fit.

    Args:
        measured: losses of rows, times and warnings.
        name: the run folder, or the name of what stayed in memory.
        seconds: that the fit took; None of a run that was fitted before.
        memory: bytes at the peak; None where it was not measured.
    """

    measured: Measured
    name: str
    seconds: float | None = None
    memory: int | None = None


def fit_and_ask(task: Task, source: Source, log: Callable[[Any], None] | None = None) -> Outcome:
    """Fit a program on the training rows of a part and ask it about the test rows.

    A fit that its folder has finished is not done again, if program, settings and data are the same; one that was
    killed goes on.

    Args:
        task: what is to be done.
        source: the data.
        log: receives what `fit` tells.

    Returns:
        What came of it.

    Raises:
        UsageError: the folder has a fit with other settings, or the program refuses the data.
        DataError: the folder has a fit of other data.
    """
    for file in task.use:
        use_file(file)  # it may register the reader
    dataset, place = source.part(task.part), task.place
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    measurable = forget_peak()
    contender = task.contender
    run = fit(
        contender.program, dataset, hyper=contender.hyper, preset=contender.preset, seed=task.seed, out=place,
        resume=place is not None and os.path.isdir(place), use=task.use, log=log, **task.settings,
    )  # fmt: skip
    draws = dict(draws=task.draws, evidence_draws=task.evidence_draws)
    measured = losses_of_model(run, dataset, task.questions, seed=task.seed, **draws)
    result = run.record.result
    assert result is not None  # the fit has ended
    memory = peak() if measurable else None
    if on_gpu and run.record.device != "cpu":
        memory = torch.cuda.max_memory_allocated()
    memory = _kept(place, run.record.id, memory)
    return Outcome(measured, run.name if place is None else str(place), result.seconds, memory)


def ask(run: Run, source: Source, questions: Sequence[Question], **draws: int) -> Outcome:
    """Ask a run that was fitted before, on the same data, about the test rows.

    Args:
        run: the run, whose seed is that of the draws, too.
        source: the data, in one part.
        questions: those that the program can answer.
        draws: see `losses_of_model`.

    Returns:
        What it answered.
    """
    return Outcome(losses_of_model(run, source.part(0), questions, seed=run.record.seed, **draws), run.name)


def _kept(place: Path | None, run: str, memory: int | None) -> int | None:
    """The memory that was measured when the run of this id was fitted, kept beside its folder for the next time."""
    if place is None:
        return memory
    file = place.with_name(f"{place.name}.json")
    try:
        stored = json.loads(read_regular(file, 2**16))
        if isinstance(stored, dict) and stored.get("id") == run and isinstance(stored.get("memory"), int):
            return stored["memory"]
    except (OSError, ValueError):
        pass
    if memory is not None:
        write_json(file, {"id": run, "memory": memory})
    return memory
