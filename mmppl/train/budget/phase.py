"""The phases of a fit: one, or the search for the number of steps and then a fit of all rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from ...core.program import Program
from ...data.dataset import Dataset
from ...runs.calibration import Calibration
from ..rows import Rows
from ..settings import FitSettings
from ..stages.gradient import GradientStage
from ..stages.plan import PlannedStage
from ..stages.whole_data import WholeDataStage
from .held_out import Fold, hold_out
from .rule import annealed, round_steps

if TYPE_CHECKING:
    from ..loop import Training


class AfterSelection(Protocol):
    """What happens between selection and refit."""

    def __call__(self, program: Program, rows: Dataset) -> Collection[str]:
        """Look at the selected program and the rows that were held out from it, and set entries of the program's state.

        Returns:
            Their names. In the refit they stay as they are.
        """

    def report(self, program: Program) -> Calibration | None:
        """Return what was found, once the entries are as they stay."""


@dataclass(eq=False)
class Trainee:
    """Rows and optimisers of a fit, or of one of several that go on beside each other in one program.

    Args:
        rows: that are trained and validated on.
        stage: the one that goes on; used where there are several.
        weights: the program's state while another trainee has the program.
        best: the same at the best epoch so far.
    """

    rows: Rows
    stage: GradientStage | WholeDataStage | None = None
    weights: dict[str, Tensor] | None = None
    best: dict[str, Tensor] | None = None

    def state(self) -> dict[str, Tensor]:
        """All that a resumed fit needs. The best weights are left out where they are the present ones."""
        best = None if self.best is self.weights else self.best
        parts = {"weights": self.weights, "best": best, "moments": self.stage.state() if self.stage else {}}
        return {f"{part}/{name}": value for part, found in parts.items() for name, value in (found or {}).items()}

    def load(self, state: dict[str, Tensor], fit: Training, epoch: int) -> None:
        """Go on after an epoch, with what `state` gave.

        Raises:
            ValueError: it is of other parameters.
        """
        parts: dict[str, dict[str, Tensor]] = {"weights": {}, "best": {}, "moments": {}}
        for name, value in state.items():
            part, _, key = name.partition("/")
            parts[part][key] = value
        if parts["weights"].keys() != fit.initial.keys():
            raise ValueError("the weights of a fold are not those of the program")
        self.weights, self.best = parts["weights"], parts["best"] or None
        if self.best is None and fit.after_selection is not None:
            self.best = self.weights
        self.stage = fit.stage_at(epoch)
        self.stage.load(parts["moments"])


@dataclass(frozen=True, eq=False)
class Phase:
    """A part of a fit that begins with the first weights.

    Args:
        name: "fit" the only one; "select" finds the number of steps; "refit" takes it.
        trainees: one, or one for each fold.
        epochs: at most.
        keeps_best: whether the best epoch counts, by the validation loss, and not the last one.
        learnt: numbers of the rows that it learns from (of folds, the first's).
        whole: numbers of all rows that are no test rows.
    """

    name: Literal["fit", "select", "refit"]
    trainees: tuple[Trainee, ...]
    epochs: int
    keeps_best: bool
    learnt: Tensor
    whole: Tensor

    @property
    def validates(self) -> bool:
        """Whether rows are held out."""
        return len(self.trainees[0].rows.valid) > 0


def first_phase(
    program: Program, dataset: Dataset, settings: FitSettings, device: torch.device, log: Callable[[str], None]
) -> Phase:
    """The phase "fit" or "select" of resolved settings.

    Raises:
        DataError: there is nothing to train on.
    """
    folds = hold_out(program, dataset, settings, log)
    whole = torch.cat([folds[0].train, folds[0].valid]).sort().values
    assert settings.batch_size is not None
    shared = settings.refit or len(folds) > 1  # steps are recorded once
    made = dict(batch_size=min(settings.batch_size, *(len(fold.train) for fold in folds)), device=device)
    if settings.steps is not None:
        made |= dict(per_epoch=round_steps(settings.steps), steps=settings.steps)
    if shared:
        made |= dict(like=whole)
    keys = [f"fold {i}" for i in range(len(folds))] if len(folds) > 1 else [""]
    rows = [Rows(program, dataset, fold, key=key, **made) for fold, key in zip(folds, keys)]  # type: ignore[arg-type]
    epochs = settings.epochs or -(-settings.steps // rows[0].per_epoch)  # type: ignore[operator]
    validates = len(folds[0].valid) > 0
    keeps_best = validates and (settings.steps is not None or settings.patience is not None)
    selects = validates and (settings.steps is not None or bool(settings.refit))
    trainees = tuple(Trainee(one) for one in rows)
    return Phase("select" if selects else "fit", trainees, epochs, keeps_best, folds[0].train, whole)


def refit_phase(
    program: Program,
    dataset: Dataset,
    settings: FitSettings,
    first: Phase,
    before: Sequence[PlannedStage],
    last: PlannedStage,
    best: int,
) -> tuple[Phase, list[PlannedStage]]:
    """The phase "refit" and its stages.

    Args:
        program: that is trained.
        dataset: all rows.
        settings: resolved ones.
        first: the phase that has selected.
        before: its stages but the last.
        last: the last stage.
        best: the epoch of the last stage that was selected, counted from 1.
    """
    rows = first.trainees[0].rows
    start = rows.steps_before(last.first)
    total, chosen = (rows.steps_before(last.first + n) - start for n in (last.epochs, best))
    steps = annealed(chosen, total, settings.schedule) if last.stage.update == "gradient" else chosen
    epochs = max(-(-steps // rows.per_epoch), 1)
    nothing = torch.zeros(0, dtype=torch.int64)
    again = Rows(
        program, dataset, Fold(first.whole, nothing), rows.batch_size, rows.device,
        per_epoch=rows.per_epoch, steps=start + steps, like=first.whole, key="refit",
    )  # fmt: skip
    phase = Phase("refit", (Trainee(again),), last.first - 1 + epochs, False, first.whole, first.whole)
    return phase, [*before, replace(last, epochs=epochs)]


def told(phase: Phase, settings: FitSettings) -> list[str]:
    """The line that a phase begins with; none where epochs are named and nothing is selected."""
    rows, several = phase.trainees[0].rows, len(phase.trainees)
    count, steps = len(phase.whole), f"{rows.steps_before(phase.epochs + 1):,} steps of {rows.batch_size} rows"
    if phase.name == "refit":
        return [f"Fits all {count:,} rows that are no test rows for {steps}."]
    if settings.steps is None:
        return []
    if phase.name == "fit":
        return [f"Takes {steps}: no row is held out that could tell when to stop."]
    held = f"{len(rows.valid):,} held-out rows" if several == 1 else f"{several} folds of {count:,} rows"
    return [f"Takes up to {steps}, as many as serve {held} best{'; then fits all rows' if settings.refit else ''}."]


def freeze(program: Program, trainees: Sequence[Trainee], after: AfterSelection) -> list[str]:
    """Call `after` for each trainee, and leave the mean of what it sets in the program.

    Args:
        program: has the selected weights; with several trainees, those of each are taken.
        trainees: with the rows that were held out from each, and its weights.
        after: what is called.

    Returns:
        names of the entries that it has set.
    """
    if len(trainees) == 1:
        return sorted(after(program, trainees[0].rows.valid)) if len(trainees[0].rows.valid) else []
    sums: dict[str, Tensor] = {}
    for trainee in trainees:
        program.load_state_dict(trainee.best or trainee.weights or {})
        names = after(program, trainee.rows.valid)
        values = program.state_dict()
        for name in names:
            sums[name] = sums.get(name, 0.0) + values[name].double() * len(trainee.rows.valid)
    held = sum(len(trainee.rows.valid) for trainee in trainees)
    found = program.state_dict()
    with torch.no_grad():
        for name, total in sums.items():
            found[name].copy_(total / held)
    return sorted(sums)
