"""The trials of a tuning, kept by Optuna: in memory, or in a file that a killed tuning goes on from.

Whoever holds the lock of the folder is the only tuning there, and its processes end with it. So a trial that is
"running" when a tuning begins has died, which needs no heartbeat to be seen, and is run again at once.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.extras import extra
from ...errors import DataError, UsageError
from ..settings import OF_A_PROGRAM, over
from .search import Range, Space
from .trial import Settings

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

FILE, NAME = "study.db", "tune"
WAIT = 60.0  # seconds that a process waits for another one that writes
PLAN, DEFAULT, OUTSIDE, REASON, SECONDS = "plan", "default", "outside", "reason", "seconds"  # what is kept beside
KILLED, ATTEMPT = "killed", "attempt"  # of a trial whose process died, and which attempt its successor is
PROCESS = "process"  # that runs a trial
ATTEMPTS = 3  # of a trial whose process is killed, perhaps for the memory that it takes
ENDED = ("complete", "pruned", "failed")
RANDOM = 10  # trials at most before the sampler learns from others; fewer where few settings are searched
UNPRUNED, FIRST = 4, 4  # trials that are never pruned, and the report from which on others may be
TELLING = 8  # trials that say which settings matter


class Trials:
    """The trials of one tuning.

    Args:
        folder: where they are kept; None: in memory.
        space: what is searched.
        direction: "min" or "max".

    Raises:
        UsageError: Optuna is not installed.
        DataError: the file cannot be used.
    """

    def __init__(self, folder: Path | None, space: Space, direction: str) -> None:
        with extra("tune", "tune: searching settings"):
            import optuna
            from sqlalchemy import URL
            from sqlalchemy.exc import SQLAlchemyError
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it would say is said here
        self.optuna, self.space, self.folder = optuna, space, folder
        storage: Any = None
        try:
            if folder is not None:
                url = URL.create("sqlite", database=str(folder.resolve() / FILE)).render_as_string()
                url = url.replace("{", "{{").replace("}", "}}")  # Optuna fills in what stands in braces
                storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": WAIT}})
            self.study = optuna.create_study(
                storage=storage,
                study_name=NAME,
                load_if_exists=True,
                direction=f"{direction}imize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=FIRST - 1),
            )
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError, ValueError) as error:
            raise DataError(
                f"{folder}/{FILE}: cannot be used ({' '.join(str(error).split())[:200]}). Restore it, or choose "
                "another --study."
            ) from None

    def check_plan(self, plan: Mapping[str, Any]) -> None:
        """Keep what a tuning does beside its trials, or check that it is what they were made by.

        Args:
            plan: what is fitted, on which data, and what is searched and scored; ready for JSON.

        Raises:
            UsageError: they were made by something else.
        """
        now, before = json.loads(json.dumps(plan)), self.study.user_attrs.get(PLAN)
        if before is None:
            self.study.set_user_attr(PLAN, now)
        elif before != now:
            name = next(name for name in {**before, **now} if before.get(name) != now.get(name))
            raise UsageError(
                f"{self.folder}: cannot go on: {name} is {_short(now.get(name))}, the study has "
                f"{_short(before.get(name))}. Go on with what it has, or choose another --study."
            )

    def __iter__(self) -> Any:
        """Go through all trials in the order of their numbers."""
        return iter(self.study.get_trials(deepcopy=False))

    @property
    def ended(self) -> int:
        """How many have come to an end; one whose process was killed has not, and is run again."""
        return sum(outcome(one) in ENDED for one in self)

    @property
    def best(self) -> FrozenTrial | None:
        """The best of those that are complete, of equal ones the first; None: none is."""
        complete = [one for one in self if outcome(one) == "complete"]
        sign = 1 if self.study.direction.name == "MINIMIZE" else -1
        return min(complete, key=lambda one: sign * one.value, default=None)

    @property
    def default(self) -> FrozenTrial | None:
        """The settings that a fit has without a search, once they have been tried."""
        return next((one for one in self if DEFAULT in one.user_attrs and outcome(one) in ENDED), None)

    def enqueue_default(self, values: Mapping[str, Any]) -> None:
        """Let the settings that a fit has without a search be the first trial, so that the best is never worse.

        Args:
            values: name → the value that it has without a search. Where one of them lies outside of what is searched,
                the trial has no parameters, and the sampler learns nothing from it.
        """
        if any(DEFAULT in one.user_attrs and outcome(one) != "killed" for one in self):
            return
        attrs: dict[str, Any] = {DEFAULT: True}
        if not all(name in values and where.has(values[name]) for name, where in self.space.items()):
            self.study.enqueue_trial({}, user_attrs=attrs | {OUTSIDE: True})
            return
        parameters = {
            name: values[name] if isinstance(where, Range) else where.name_of(values[name])
            for name, where in self.space.items()
        }
        self.study.enqueue_trial(parameters, user_attrs=attrs)

    def bury(self, process: int | None = None) -> int:
        """End the trials of processes that are dead, and let them be run again.

        Args:
            process: the number of the process; None: all that ran any.

        Returns:
            How many were found.
        """
        running = [one for one in self if outcome(one) == "running"]
        found = [one for one in running if process in (None, one.user_attrs.get(PROCESS))]
        for frozen in found:
            self.end_killed(self.optuna.trial.Trial(self.study, frozen._trial_id))
        return len(found)

    def end_killed(self, trial: Trial) -> None:
        """End a trial whose process was killed or interrupted, and queue it again unless that has happened too often.
        One that has not all of its values yet is forgotten: the next trial draws them again.
        """
        attrs, attempt = trial.user_attrs, trial.user_attrs.get(ATTEMPT, 1)
        if attempt >= ATTEMPTS:
            trial.set_user_attr(REASON, f"its process was killed, {attempt} times")
        else:
            trial.set_user_attr(KILLED, True)
            again = {key: attrs[key] for key in (DEFAULT, OUTSIDE) if key in attrs} | {ATTEMPT: attempt + 1}
            if OUTSIDE in attrs or trial.params.keys() == self.space.keys():
                self.study.enqueue_trial(dict(trial.params), user_attrs=again)
        self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)

    def ask(self, seed: int, number: int, *, beside_others: bool) -> tuple[Trial, dict[str, Any]]:
        """Begin a trial: one that is queued, else one whose values a tree-structured Parzen estimator proposes.

        The draws of the sampler depend on the seed and on how many trials came before, and on nothing that a process
        remembers: a tuning that goes on draws what it would have drawn.

        Args:
            seed: of the tuning.
            number: how many trials have ended, or run beside it.
            beside_others: whether others run at the same time, whose values it keeps away from.

        Returns:
            The trial, and name → value of what is searched; {} for a default that lies outside of it.

        Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization", as Optuna's TPESampler.
        """
        draws = int(np.random.SeedSequence([seed % 2**64, number]).generate_state(1)[0])
        learns = min(RANDOM, max(UNPRUNED, 2 * len(self.space)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self.optuna.exceptions.ExperimentalWarning)
            self.study.sampler = self.optuna.samplers.TPESampler(
                seed=draws, n_startup_trials=learns, constant_liar=beside_others
            )
        trial = self.study.ask()
        trial.set_user_attr(PROCESS, os.getpid())
        if trial.user_attrs.get(OUTSIDE):
            return trial, {}
        return trial, {name: self._suggested(trial, name) for name in self.space}

    def _suggested(self, trial: Trial, name: str) -> Any:
        where = self.space[name]
        if not isinstance(where, Range):
            return where.values[trial.suggest_categorical(name, list(where.values))]
        if where.whole:
            return trial.suggest_int(name, int(where.low), int(where.high), log=where.log)
        return trial.suggest_float(name, where.low, where.high, log=where.log)

    def complete(self, trial: Trial, value: float, seconds: float) -> None:
        """End a trial with its score."""
        trial.set_user_attr(SECONDS, round(seconds, 3))
        self.study.tell(trial, value)

    def prune(self, trial: Trial, seconds: float) -> None:
        """End a trial that was worse than others on the way."""
        trial.set_user_attr(SECONDS, round(seconds, 3))
        self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)

    def fail(self, trial: Trial, reason: str, seconds: float) -> None:
        """End a trial that has no score."""
        trial.set_user_attr(REASON, reason)
        trial.set_user_attr(SECONDS, round(seconds, 3))
        self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)

    def values(self, frozen: FrozenTrial) -> dict[str, Any]:
        """Name → value of what a trial has of what is searched; {} for a default that lies outside of it."""
        found = {}
        for name, where in self.space.items():
            if name in frozen.params:
                value = frozen.params[name]
                found[name] = value if isinstance(where, Range) else where.values[value]
        return found

    def importances(self, seed: int) -> dict[str, float]:
        """Estimate which settings matter: the share of the variance of the score that each explains by itself and
        together with others (fANOVA), which sum to 1.

        Args:
            seed: of the forest that stands in for the score.

        Returns:
            name → share; {} where one setting is searched, or too few trials tell.

        Source: Hutter, Hoos & Leyton-Brown 2014, "An efficient approach for assessing hyperparameter importance".
        """
        told = [one for one in self if outcome(one) == "complete" and one.params]
        if len(self.space) < 2 or len(told) < TELLING or len({one.value for one in told}) < 2:
            return {}
        evaluator = self.optuna.importance.FanovaImportanceEvaluator(seed=seed % 2**32)
        found = self.optuna.importance.get_param_importances(self.study, evaluator=evaluator, params=list(self.space))
        return {name: float(share) for name, share in found.items()}


def outcome(frozen: FrozenTrial) -> str:
    """Say how a trial stands: "complete", "pruned", "failed", "killed" (it is run again), "running" or "waiting"."""
    state = frozen.state.name.lower()
    if state == "fail":
        return "killed" if frozen.user_attrs.get(KILLED) else "failed"
    return state


def with_values(base: Settings, values: Mapping[str, Any]) -> Settings:
    """Put values of a trial over settings.

    Args:
        base: the settings without a search.
        values: name → value.
    """
    hyper = {name: value for name, value in values.items() if name not in OF_A_PROGRAM}
    training = {name: value for name, value in values.items() if name in OF_A_PROGRAM}
    return Settings({**base.hyper, **hyper}, over(base.training, training))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."
