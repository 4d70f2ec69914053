"""Running trials, one after the other: all that a process needs for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...base.files import sha256
from ...base.turns import turn
from ...core.loading import blame, load_program, source_of, use_file
from ...core.program import Program
from ...data.dataset import Dataset
from ...data.read import read
from ...errors import DataError, UsageError
from ..loop import Progress
from .held_out import HeldOut, hold_out
from .objective import Objective, choose_objective
from .search import Space, parse_search
from .trial import Settings, reason_of, score_settings
from .trials import DEFAULT, Trials, with_values

Heard = Callable[[Progress], None]


class Pruned(Exception):
    """A trial is worse on the way than most others were there."""


@dataclass(frozen=True)
class Request:
    """What is tuned, in words that another process can read again.

    Args:
        program: a class, a file or a name.
        data: what `mmppl.read` takes.
        search: as `parse_search` takes it.
        metric: see `choose_objective`, as are `direction` and `sets`.
        folds: see `hold_out`.
        base: the settings without a search.
        seed: of the sampler and of the fits.
        read: keyword arguments of `mmppl.read`.
        fit: further keyword arguments of `mmppl.fit`.
        folder: where trials are kept; None: in memory.
        jobs: processes beside each other.
    """

    program: type[Program] | str | Path
    data: Any
    search: Any
    metric: str | None
    direction: Any
    sets: Any
    folds: int | None
    base: Settings
    seed: int
    read: Mapping[str, Any] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    jobs: int = 1


class Runner:
    """What one process runs trials with.

    Args:
        request: what is tuned.

    Attributes:
        cls: the program.
        space: what is searched.
        whole: the data with their own parts.
        objective: what is made better.

    Raises:
        UsageError: something in the request is wrong.
        DataError: the data cannot be used.
    """

    def __init__(self, request: Request) -> None:
        for file in request.fit.get("use", ()):
            use_file(file)  # it may register the reader, or the metric
        self.request, self.cls = request, load_program(request.program)
        self.space: Space = parse_search(self.cls, request.search)
        source = request.data if request.data is not None else self.cls.default_data
        if source is None:
            raise UsageError("tune: name the data (--data FILE).")
        self.source = source
        self.whole: Dataset = read(source, **request.read)
        made = self.made(request.base.hyper)
        self.objective: Objective = choose_objective(made, request.metric, request.direction, request.sets)

    @cached_property
    def trials(self) -> Trials:
        """Those that have been run, by other processes as well.

        Raises:
            UsageError: they were made by another request.
            DataError: they cannot be read.
        """
        trials = Trials(self.request.folder, self.space, self.objective.direction)
        trials.check_plan(self._plan())
        return trials

    def made(self, hyper: Mapping[str, Any]) -> Program:
        """Make the program with first weights, which nobody uses, for the data.

        Raises:
            UsageError: the program refuses its hyper-parameters, or its own code fails.
        """
        try:
            with turn(), torch.random.fork_rng(devices=[]):
                return self.cls(self.whole.modalities, **hyper)
        except Exception as error:
            blamed = blame(error, self.cls)
            if blamed is None:
                raise
            raise blamed from error

    def _plan(self) -> dict[str, Any]:
        request = self.request
        return {
            "program": [self.cls.__name__, sha256(source_of(self.cls))],
            "data": self.whole.fingerprint(),
            "search": {name: str(where) for name, where in self.space.items()},
            "metric": [self.objective.metric, self.objective.direction, self.objective.sets],
            "folds": request.folds,
            "hyper": {name: _plain(value) for name, value in request.base.hyper.items()},
            "training": {name: _plain(value) for name, value in request.base.training.items()},
            "terms": [str(term) for term in request.fit.get("terms", ())],
            "seed": request.seed,
        }

    @cached_property
    def held_out(self) -> HeldOut:
        """The rows that score, read when the first trial needs them."""
        return hold_out(self.whole, self._read_parts, self.request.folds)

    def _read_parts(self, split: np.ndarray) -> Dataset:
        return read(self.source, split=split, **self.request.read)

    def run(self, number: int, on_step: Heard | None = None) -> int:
        """Run one trial to its end.

        Args:
            number: how many have ended, or run beside it.
            on_step: receives a Progress after each step.

        Returns:
            The number that the trial has.

        Raises:
            MMPPLError: the settings that a fit has without a search cannot be fitted or scored, so that nothing can.
        """
        request, begun = self.request, time.monotonic()
        held_out = self.held_out  # what is wrong with the data is no trial's fault
        trial, values = self.trials.ask(request.seed, number, beside_others=request.jobs > 1)
        default = DEFAULT in trial.user_attrs

        def report(step: int, value: float) -> None:
            trial.report(value, step)
            if not default and trial.should_prune():
                raise Pruned

        try:
            value = score_settings(
                self.cls, held_out, self.objective, with_values(request.base, values), seed=request.seed,
                report=report, on_step=on_step, **request.fit,
            )  # fmt: skip
        except Pruned:
            self.trials.prune(trial, time.monotonic() - begun)
        except BaseException as error:
            reason = reason_of(error)
            if reason is None:
                self.trials.end_killed(trial)
                raise
            self.trials.fail(trial, reason, time.monotonic() - begun)
            if default and isinstance(error, (UsageError, DataError)):
                raise
        else:
            self.trials.complete(trial, value, time.monotonic() - begun)
        return trial.number


def run_here(runner: Runner, trials: int, deadline: float, on_step: Heard | None) -> Iterator[int]:
    """Run trials one after the other.

    Args:
        runner: what runs them.
        trials: that are to have ended in all.
        deadline: the time, of the monotonic clock, from which on none begins.
        on_step: receives a Progress after each step.

    Yields:
        The number of each trial that has ended.
    """
    while (ended := runner.trials.ended) < trials and time.monotonic() < deadline:
        yield runner.run(ended, on_step)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
