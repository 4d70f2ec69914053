"""One trial: settings are fitted on what is left of the rows, and scored on those that were held out."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...core.program import Program
from ...data.dataset import Dataset
from ...errors import FitError, MMPPLError
from ...inference.fitted import FittedModel
from ..callbacks import Callback
from ..fit import fit
from ..loop import Progress, Training
from .held_out import HeldOut
from .objective import Objective

DRAWS_ON_THE_WAY = 8  # per row, where a fit goes on
Report = Callable[[int, float], None]  # hears a step and the score there, and may end the trial


@dataclass(frozen=True)
class Settings:
    """What is fitted: hyper-parameters, and settings of the fit.

    Args:
        hyper: name → value.
        training: name → value.
    """

    hyper: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


class HeldOutCurve(Callback):
    """The score of the held-out rows while a fit goes on, after 1, 2, 4, 8, … epochs, so that it costs a small share.

    Epochs are the lines of metrics.jsonl in the first phase: the fit of all rows that may follow begins anew.
    """

    def __init__(self, dataset: Dataset, objective: Objective, seed: int, report: Report) -> None:
        self.dataset, self.objective, self.seed, self.report = dataset, objective, seed, report

    def on_epoch(self, fit: Training, line: dict[str, Any]) -> None:
        """Score the program as it stands, and report it."""
        epoch = fit.counters.epoch
        if fit.counters.begun or epoch & (epoch - 1):
            return
        model = FittedModel(on_cpu(fit.program), data=self.dataset)
        try:
            value = self.objective.score(model, draws=DRAWS_ON_THE_WAY, seed=self.seed)
        except FitError:  # of an early epoch; the end decides
            return
        self.report(epoch, value)


def on_cpu(program: Program) -> Program:
    """Return the program itself where it is on the CPU, else a copy there."""
    if program.progress.device.type == "cpu":
        return program
    return copy.deepcopy(program).cpu()


def score_settings(
    cls: type[Program],
    held_out: HeldOut,
    objective: Objective,
    settings: Settings,
    *,
    seed: int,
    report: Report | None = None,
    on_step: Callable[[Progress], None] | None = None,
    **how: Any,
) -> float:
    """Fit settings on each data set, and score the rows that each fit did not see.

    Args:
        cls: the program.
        held_out: the data sets.
        objective: what is scored.
        settings: what is fitted.
        seed: of the fits and of the draws.
        report: hears the scores on the way: of one data set those of epochs, of folds the mean after each. It may end
            the trial by an exception.
        on_step: receives a Progress after each step.
        how: further keyword arguments of `fit`.

    Returns:
        The score, the mean over the data sets.

    Raises:
        MMPPLError: the fit fails, or its answers cannot be scored.
    """
    several, scores = len(held_out.datasets) > 1, []
    for number, dataset in enumerate(held_out.datasets, 1):
        curve = []
        if report is not None and not several and objective.on_the_way:
            curve = [HeldOutCurve(dataset, objective, seed, report)]
        run = fit(
            cls, dataset, hyper=settings.hyper, seed=seed, callbacks=curve, on_step=on_step, **settings.training, **how
        )
        run.fitted_on = dataset  # with what was hidden, which metrics of hidden cells ask for
        scores.append(objective.score(run, seed=seed))
        if report is not None and several:
            report(number, math.fsum(scores) / number)
    return math.fsum(scores) / len(scores)


def reason_of(error: BaseException) -> str | None:
    """Say why a trial has failed, in a line.

    Args:
        error: what ended it.

    Returns:
        The reason; None: the error is no fault of the settings, and ends all of it.
    """
    if isinstance(error, MMPPLError):
        return " ".join(str(error).split())
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error):
        return "out of memory"
    return None
