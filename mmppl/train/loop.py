"""The epochs of one fit: its phases and their stages one after another, validation, and the moments at which callbacks
are called."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..base.random import generator
from ..base.turns import give_way, others_turn
from ..core.calibration import uncalibrated
from ..core.program import Program
from ..core.stages import GradientRule
from ..data.dataset import Dataset
from ..errors import FitError
from ..inference.warnings import unseen_classes
from .budget.held_out import unseen_in
from .budget.phase import AfterSelection, Phase, Trainee, first_phase, freeze, refit_phase, told
from .budget.rule import patience_at, resolve
from .calibration.calibrate import tell_noise_at_bound
from .callbacks import Callback
from .checkpoint import Counters
from .settings import FitSettings
from .stages.gradient import GradientStage
from .stages.plan import PlannedStage, at_epoch, check_terms, plan_stages
from .stages.whole_data import WholeDataStage
from .step import Step
from .validate import at_the_end, mean_over, mean_terms, weighted


@dataclass(frozen=True)
class Progress:
    """Where a phase of a fit is after a step, all folds together. Seconds, and nats per row (of the last step)."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds: float
    rows_per_second: float
    eta_seconds: float
    phase: str = "fit"


class Training:
    """One fit, which its callbacks look at.

    It has one phase, "fit", whose last weights are kept (with patience, the best); or "select", which finds the number
    of steps that serves held-out rows best, and then perhaps "refit", which begins again on all rows and takes so many.

    Args:
        program: on its device, with its first weights.
        dataset: whose rows are trained and validated on.
        settings: of the fit; `budget.rule.resolve` fills in what they leave open.
        callbacks: called in their order.
        rule: combines gradients, in groups that have no rule of their own.
        log: receives one-line messages for the user.
        after_selection: is called between "select" and "refit", or the end, with the program at the selected weights
            and the rows that were held out from them. It sets entries of the program's state, and returns their names:
            their values stay as they are in the refit (of folds, the mean over the held-out rows of all).

    Attributes:
        phase: the one that goes on.
        trainees: one, or one for each fold.
        rows: what the trainee at hand is trained and validated on.
        refits: whether a phase "refit" follows.
        plan: the stages of the phase.
        stage: the one that goes on, of the trainee at hand.
        counters: how far the fit has come.
        lines: of metrics.jsonl, one per epoch.
        better: the epoch that has just ended is the best of its stage.
        last: the epoch that has just ended is the last of its phase.

    Raises:
        UsageError: the program's groups or stages are not sound.
        DataError: there is nothing to train on.
    """

    def __init__(
        self,
        program: Program,
        dataset: Dataset,
        settings: FitSettings,
        *,
        callbacks: Sequence[Callback] = (),
        rule: GradientRule | None = None,
        log: Callable[[str], None] = lambda line: None,
        after_selection: AfterSelection | None = None,
    ) -> None:
        self.settings = settings = resolve(settings, program, dataset)
        self.program, self.dataset, self.callbacks, self.log = program, dataset, list(callbacks), log
        self.after_selection = after_selection
        self.device = program.progress.device
        self.initial = {name: value.clone() for name, value in program.state_dict().items()}
        self.first = first_phase(program, dataset, settings, self.device, log)
        self.first_plan = plan_stages(program, self.first.epochs, rule)
        self.refits = bool(settings.refit) and self.first.validates
        self.unseen = unseen_in(program, dataset, self.first.whole if self.refits else self.first.learnt)
        for line in unseen_classes(self.unseen):
            log(line)
        if settings.patience and not self.first.validates:
            log("There are no validation rows: --patience has nothing to watch, and is ignored.")
        self.counters = Counters()
        self.lines: list[dict[str, Any]] = []
        self.better = self.last = self._checked = False
        self._steps: dict[Any, Step] | None = {} if self.refits or len(self.first.trainees) > 1 else None
        self._steppers = [c for c in self.callbacks if type(c).on_step is not Callback.on_step]
        self._enter(self.first, self.first_plan)

    def _enter(self, phase: Phase, plan: Sequence[PlannedStage]) -> None:
        self.phase, self.plan, self.trainees = phase, tuple(plan), phase.trainees
        self.rows = self.trainees[0].rows
        self.stage: GradientStage | WholeDataStage | None = None
        self.step = 0  # batches of the phase that the trainee at hand has done

    def run(self) -> None:
        """Train to the end.

        Raises:
            FitError: something is not finite.
        """
        started = time.monotonic() - self.counters.seconds
        self._tell()
        with others_turn():
            for callback in self.callbacks:
                callback.on_start(self)
        self._until_over(started)
        if self.phase.keeps_best or self.refits:
            self._select()
        if self.refits and self.phase is self.first:
            self._begin_refit()
            self._until_over(started)
        elif not self.counters.selected:
            self._freeze()
        tell_noise_at_bound(self.program, self.log)
        for line in self.program.notes():
            self.log(line)
        with others_turn():
            for callback in self.callbacks:
                callback.on_end(self)

    def _select(self) -> None:
        """The end of a phase that looks for the best epoch: the program gets its weights, and what is found there."""
        counters = self.counters
        if counters.selected:
            return
        counters.selected = counters.best_epoch if self.phase.keeps_best else counters.epoch
        with others_turn():
            for callback in self.callbacks:
                callback.on_selected(self)
        line = self.lines[counters.selected - 1]
        if self.settings.steps is not None or self.refits:
            loss = f", held-out loss {line['loss']['valid']:.4g} nats per row" if line["valid"] else ""
            self.log(f"Selected step {line['step']:,} of {self.step:,}{loss}.")
        self._freeze()

    def _freeze(self) -> None:
        """Look at what was held out, where anything was."""
        if self.after_selection is None or not self.program.holds_out:
            return
        if not self.phase.validates:
            self.log("There are no held-out rows: noise and temperatures are not calibrated.")
            return
        self.counters.frozen = freeze(self.program, self.trainees, self.after_selection)
        self.counters.calibration = self.after_selection.report(self.program)
        if self.counters.calibration is not None:
            self.log(str(self.counters.calibration))

    def _until_over(self, started: float) -> None:
        with uncalibrated(self.program):  # what is learned would undo it
            while not self._is_over():
                self._epoch(started)
        self.program.stage = ""

    def _refit(self) -> tuple[Phase, list[PlannedStage]]:
        """The phase after the selection, and its stages: as before, the last for as long as was selected."""
        *before, last = self.first_plan
        best = self.counters.selected - (last.first - 1)
        return refit_phase(self.program, self.dataset, self.settings, self.first, before, last, best)

    def _begin_refit(self) -> None:
        counters, values = self.counters, self.program.state_dict()
        frozen = {name: values[name].clone() for name in counters.frozen}
        self.program.load_state_dict(self.initial | frozen)
        torch.manual_seed(generator(self.settings.seed, "refit").initial_seed())
        counters.begun, counters.before, counters.stage = counters.epoch, counters.step, 0
        self._enter(*self._refit())
        self._tell()

    def _tell(self) -> None:
        for line in told(self.phase, self.settings):
            self.log(line)

    def stage_at(self, epoch: int) -> GradientStage | WholeDataStage:
        """The stage of an epoch of the phase, at its beginning."""
        planned = at_epoch(self.plan, epoch)
        check = None if self._checked else self._check_terms
        frozen = {parameter for name, parameter in self.program.named_parameters() if name in self.counters.frozen}
        if planned.stage.update != "gradient":
            return WholeDataStage(self.program, planned, self.settings, check, frozen=frozen)
        first, end = (self.rows.steps_before(epoch) for epoch in (planned.first, planned.last + 1))
        return GradientStage(
            self.program, planned, self.settings, end - first, first, frozen=frozen, shared=self._steps,
            trainees=len(self.trainees), check=check, log=self.log,
        )  # fmt: skip

    def _check_terms(self, names: Sequence[str]) -> None:
        check_terms(self.program, self.plan, names)
        self._checked = True

    def _epoch(self, started: float) -> None:
        self.begun, self.started = time.monotonic(), started
        counters = self.counters
        epoch, number = counters.epoch + 1, counters.epoch - counters.begun + 1  # of the fit, and of the phase
        planned = at_epoch(self.plan, number)
        if number == planned.first:  # the losses of two stages cannot be compared
            counters.best, counters.best_epoch = math.inf, counters.epoch
        counters.stage = planned.number
        found = [self._epoch_of(trainee, planned, number) for trainee in self.trainees]
        train, weights = mean_over([(trained, 1) for trained, _, _, _ in found]), found[-1][1]
        held = [(valid, len(t.rows.valid)) for (_, _, valid, _), t in zip(found, self.trainees) if valid]
        valid, at_end = mean_over(held), found[-1][3]
        loss = {"train": weighted(train, weights), "valid": weighted(valid, at_end) if valid else None}
        line: dict[str, Any] = {"epoch": epoch, "phase": self.phase.name, "stage": planned.stage.name}
        line |= {"step": self.rows.steps_before(number + 1), "train": train, "valid": valid, "weights": weights}
        settled = not valid or all(math.isclose(weights[n], w, rel_tol=1e-6) for n, w in at_end.items())
        line |= {} if at_end == weights or not valid else {"weights_at_end": at_end}
        line |= {"folds": [weighted(values, at_end) for values, _ in held]} if len(held) > 1 else {}
        line |= {"loss": loss, "metrics": {}, "seconds": 0.0}
        self.better = loss["valid"] is not None and (not settled or loss["valid"] < counters.best)
        if self.better:
            counters.best, counters.best_epoch = float(loss["valid"] or 0.0) if settled else math.inf, epoch
            for trainee in self.trainees if len(self.trainees) > 1 and self.after_selection is not None else ():
                trainee.best = trainee.weights
        counters.epoch, counters.seconds = epoch, time.monotonic() - started
        self.last = self._is_over()
        self.lines.append(line)
        line["seconds"] = time.monotonic() - self.begun
        with others_turn():
            for callback in self.callbacks:
                callback.on_epoch(self, line)

    def _epoch_of(self, trainee: Trainee, planned: PlannedStage, number: int) -> tuple[dict[str, float], ...]:
        """An epoch of one trainee: terms and weights on the training rows, and the same on those that are held out."""
        several = len(self.trainees) > 1
        if several:
            self.rows, self.stage = trainee.rows, trainee.stage
            self.program.load_state_dict(trainee.weights or self.initial)
        if self.stage is None or self.stage.planned != planned:
            self.stage = self.stage_at(number)
        self.step = self.rows.steps_before(number)
        train, weights = self.stage.epoch(self, number)
        valid, at_end = self._validate(planned, number) if len(self.rows.valid) else ({}, {})
        if several:
            trainee.stage = self.stage
            trainee.weights = {name: value.clone() for name, value in self.program.state_dict().items()}
        return train, weights, valid, at_end

    def _is_over(self) -> bool:
        counters, done = self.counters, self.counters.epoch - self.counters.begun
        if done == 0 or not self.phase.keeps_best or counters.stage < len(self.plan) - 1:
            return done >= self.phase.epochs
        patience = self.settings.patience
        if patience is None and self.settings.steps is not None and self.refits:
            patience = patience_at(counters.best_epoch - counters.begun - (self.plan[-1].first - 1))
        waited = counters.epoch - counters.best_epoch
        return done >= self.phase.epochs or (patience is not None and waited >= patience)

    def _validate(self, planned: PlannedStage, epoch: int) -> tuple[dict[str, float], dict[str, float]]:
        """Every term on the validation rows, and its weight, as they are when the program's clock has run down."""
        with at_the_end(self.program):
            batches, seed = self.rows.in_order(self.rows.placed(self.rows.valid)), self.settings.seed
            found = mean_terms(
                self.program, batches, seed=seed, precision=self.settings.precision, terms=planned.stage.terms
            )
        bad = [n for n, v in found[0].items() if not math.isfinite(v)]
        if bad:
            raise FitError(
                f"the validation loss is not finite: {', '.join(bad)}, epoch {epoch}. Fit again with a smaller --lr."
            )
        return found

    @property
    def steps(self) -> int:
        """Batches of the phase, of each trainee."""
        return self.rows.steps_before(self.phase.epochs + 1)

    def set_progress(self) -> None:
        """Move the program's clock to this step."""
        self.program.progress.fill_(self.step / self.steps)

    def advance(self, batches: int, loss: float) -> None:
        """Count batches that are done, and tell how far the fit has come."""
        counters, size = self.counters, self.rows.batch_size
        counters.step += batches
        self.step += batches
        give_way()
        if not self._steppers:
            return
        number, several = counters.epoch - counters.begun + 1, len(self.trainees)
        now, done = time.monotonic(), counters.step - counters.before
        rate = (done - several * self.rows.steps_before(number)) * size / max(now - self.begun, 1e-9)
        steps = self.steps * several
        progress = Progress(
            epoch=number,
            epochs=self.phase.epochs,
            step=done,
            steps=steps,
            loss=loss,
            seconds=now - self.started,
            rows_per_second=rate,
            eta_seconds=(steps - done) * size / rate,
            phase=self.phase.name,
        )
        with others_turn():
            for callback in self._steppers:
                callback.on_step(self, progress)

    def optimiser_state(self) -> dict[str, Tensor]:
        """What the optimisers of the stage that goes on keep; of several trainees, their weights, too."""
        if len(self.trainees) == 1:
            return {} if self.stage is None else self.stage.state()
        return {f"{i}/{name}": value for i, t in enumerate(self.trainees) for name, value in t.state().items()}

    def restore(self, counters: Counters, optimisers: dict[str, Tensor]) -> None:
        """Go on after an epoch, the program's weights being those of its end.

        Raises:
            ValueError: the state is of another stage or of other parameters.
        """
        self.counters, self._checked = counters, True  # when it began
        if counters.begun:
            self._enter(*self._refit())
        done = counters.epoch - counters.begun
        if not 1 <= done <= self.phase.epochs or at_epoch(self.plan, done).number != counters.stage:
            raise ValueError(f"epoch {done} is not one of stage {counters.stage + 1}")
        if len(self.trainees) == 1:
            self.stage = self.stage_at(done)
            self.stage.load(optimisers)
            return
        for i, trainee in enumerate(self.trainees):
            self.rows = trainee.rows
            trainee.load({n.partition("/")[2]: v for n, v in optimisers.items() if n.startswith(f"{i}/")}, self, done)
