"""The epochs of one fit: its stages one after another, validation, and the moments at which callbacks are called."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..base.turns import give_way, others_turn
from ..core.calibration import uncalibrated
from ..core.program import Program
from ..core.stages import GradientRule
from ..data.dataset import Dataset
from ..errors import FitError
from ..inference.warnings import unseen_classes
from ..runs.calibration import Calibration
from ..runs.record import ResultRecord
from .callbacks import Callback
from .checkpoint import Counters
from .rows import Rows
from .settings import FitSettings
from .stages.gradient import GradientStage
from .stages.plan import PlannedStage, at_epoch, check_terms, plan_stages
from .stages.whole_data import WholeDataStage
from .validate import mean_terms


@dataclass(frozen=True)
class Progress:
    """Where a fit is, after a step. Times in seconds, loss in nats per row (of the last step)."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    seconds: float
    rows_per_second: float
    eta_seconds: float


class Training:
    """One fit, which its callbacks look at.

    Args:
        program: on its device, with its first weights.
        dataset: whose rows are trained and validated on.
        settings: of the fit.
        callbacks: called in their order.
        rule: combines gradients, in groups that have no rule of their own.
        log: receives one-line messages for the user.

    Attributes:
        rows: what is trained and validated on.
        plan: the stages.
        stage: the one that goes on.
        counters: how far the fit has come.
        steps: batches of the whole fit.
        lines: of metrics.jsonl, one per epoch.
        patience: epochs; None: never, or there are no validation rows.
        better: the epoch that has just ended is the best of its stage.
        last: the epoch that has just ended is the last.
        calibration: what calibration has changed, once it is done.

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
    ) -> None:
        self.program, self.settings, self.callbacks, self.log = program, settings, list(callbacks), log
        self.device = program.progress.device
        self.plan = plan_stages(program, settings.epochs, rule)
        self.rows = Rows(program, dataset, settings.batch_size, self.device, log)
        for line in unseen_classes(self.rows.unseen):
            log(line)
        self.steps = self.rows.per_epoch * settings.epochs
        if settings.patience and not len(self.rows.valid):
            log("There are no validation rows: --patience has nothing to watch, and is ignored.")
        self.patience = settings.patience if len(self.rows.valid) else None
        self.counters = Counters()
        self.stage: GradientStage | WholeDataStage | None = None
        self.lines: list[dict[str, Any]] = []
        self.better = self.last = False
        self.calibration: Calibration | None = None
        self._checked = False
        self._steppers = [c for c in self.callbacks if type(c).on_step is not Callback.on_step]

    def run(self) -> None:
        """Train to the end.

        Raises:
            FitError: something is not finite.
        """
        started = time.monotonic() - self.counters.seconds
        with others_turn():
            for callback in self.callbacks:
                callback.on_start(self)
        with uncalibrated(self.program):  # what is learned would undo it
            while not self._is_over():
                self._epoch(self.counters.epoch + 1, started)
        with others_turn():
            for callback in self.callbacks:
                callback.on_end(self)

    def stage_at(self, epoch: int) -> GradientStage | WholeDataStage:
        """The stage of an epoch, at its beginning."""
        planned = at_epoch(self.plan, epoch)
        check = None if self._checked else self._check_terms
        if planned.stage.update != "gradient":
            return WholeDataStage(self.program, planned, self.settings, check)
        per_epoch = self.rows.per_epoch
        steps, first = per_epoch * planned.epochs, per_epoch * (planned.first - 1)
        return GradientStage(self.program, planned, self.settings, steps, first, check=check, log=self.log)

    def _check_terms(self, names: Sequence[str]) -> None:
        check_terms(self.program, self.plan, names)
        self._checked = True

    def _epoch(self, epoch: int, started: float) -> None:
        self.begun, self.started = time.monotonic(), started
        planned = at_epoch(self.plan, epoch)
        if self.stage is None or self.stage.planned != planned:
            self.stage = self.stage_at(epoch)
        if epoch == planned.first:  # the losses of two stages cannot be compared
            self.counters.best, self.counters.best_epoch = math.inf, epoch - 1
        self.counters.stage = planned.number
        train, weights = self.stage.epoch(self, epoch)
        valid = self._validate(planned, epoch) if len(self.rows.valid) else {}
        loss = {"train": _loss(train, weights), "valid": _loss(valid, weights) if valid else None}
        line: dict[str, Any] = {"epoch": epoch, "stage": planned.stage.name, "train": train, "valid": valid}
        line |= {"weights": weights, "loss": loss, "metrics": {}, "seconds": 0.0}
        self.better = loss["valid"] is not None and loss["valid"] < self.counters.best
        if self.better:
            self.counters.best, self.counters.best_epoch = float(loss["valid"] or 0.0), epoch
        self.counters.epoch, self.counters.seconds = epoch, time.monotonic() - started
        self.last = self._is_over()
        self.lines.append(line)
        line["seconds"] = time.monotonic() - self.begun
        with others_turn():
            for callback in self.callbacks:
                callback.on_epoch(self, line)

    def _is_over(self) -> bool:
        counters, epochs = self.counters, self.settings.epochs
        if counters.epoch == 0 or self.patience is None or counters.stage < len(self.plan) - 1:
            return counters.epoch >= epochs
        return counters.epoch >= epochs or counters.epoch - counters.best_epoch >= self.patience

    def _validate(self, planned: PlannedStage, epoch: int) -> dict[str, float]:
        """Every term on the validation rows."""
        batches = self.rows.in_order(self.rows.placed(self.rows.valid))
        valid, _ = mean_terms(
            self.program,
            batches,
            seed=self.settings.seed,
            precision=self.settings.precision,
            terms=planned.stage.terms,
        )
        bad = [n for n, v in valid.items() if not math.isfinite(v)]
        if bad:
            raise FitError(
                f"the validation loss is not finite: {', '.join(bad)}, epoch {epoch}. Fit again with a smaller --lr."
            )
        return valid

    def set_progress(self) -> None:
        """Move the program's clock to this step."""
        self.program.progress.fill_(self.counters.step / self.steps)

    def advance(self, batches: int, loss: float) -> None:
        """Count batches that are done, and tell how far the fit has come."""
        counters, size = self.counters, self.rows.batch_size
        counters.step += batches
        give_way()
        if not self._steppers:
            return
        now = time.monotonic()
        done = counters.step - counters.epoch * self.rows.per_epoch  # in this epoch
        rate = done * size / max(now - self.begun, 1e-9)
        progress = Progress(
            epoch=counters.epoch + 1,
            epochs=self.settings.epochs,
            step=counters.step,
            steps=self.steps,
            loss=loss,
            seconds=now - self.started,
            rows_per_second=rate,
            eta_seconds=(self.steps - counters.step) * size / rate,
        )
        with others_turn():
            for callback in self._steppers:
                callback.on_step(self, progress)

    def optimiser_state(self) -> dict[str, Tensor]:
        """What the optimisers of the stage that goes on keep."""
        return {} if self.stage is None else self.stage.state()

    def restore(self, counters: Counters, optimisers: dict[str, Tensor]) -> None:
        """Go on after an epoch, the program's weights being those of its end.

        Raises:
            ValueError: the state is of another stage or of other parameters.
        """
        if counters.epoch > self.settings.epochs or at_epoch(self.plan, counters.epoch).number != counters.stage:
            raise ValueError(f"epoch {counters.epoch} is not one of stage {counters.stage + 1}")
        self.counters, self.stage = counters, self.stage_at(counters.epoch)
        self.stage.load(optimisers)

    def result(self) -> ResultRecord:
        """How the fit has ended: of the epoch whose weights are kept."""
        kept = self.counters.best_epoch if self.patience and self.counters.best_epoch else len(self.lines)
        line = self.lines[kept - 1]
        metrics = line["metrics"].items()
        return ResultRecord(
            epochs=len(self.lines),
            seconds=round(self.counters.seconds, 3),
            loss=line["loss"]["valid"] if line["valid"] else line["loss"]["train"],
            terms=line["valid"] or line["train"],
            weights=line["weights"],
            metrics={name: value if math.isfinite(value) else None for name, value in metrics},
            calibration=self.calibration,
        )


def _loss(values: Mapping[str, float], weights: Mapping[str, float]) -> float:
    return sum(weights[name] * value for name, value in values.items())
