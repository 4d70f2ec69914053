"""A stage of gradient steps: for each batch, the evaluations at which its groups move."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...core.batch import Batch
from ...core.program import Program
from ...core.stages import Group
from ...errors import FitError
from ...objectives.impartial.rules import combiner
from ..cuda_graph import CapturedStep
from ..optimiser import LRSchedule, Optimiser, load_moments, moments_of, move, mutable_state, optimiser_of
from ..settings import FitSettings
from ..step import Outcome, Step
from .plan import PlannedStage

if TYPE_CHECKING:
    from ..loop import Training

RECORD_FROM = 150  # evaluations: to record a step takes as long as about 120 steps from Python


class Evaluation:
    """One evaluation of the objective on a batch, after which some groups move; recorded, or on a GPU captured.

    Args:
        step: leaves the gradients of the groups in their parameters.
        moves: clips them and moves the parameters.
        captured: does both, on a GPU.
    """

    def __init__(self, step: Step, moves: Callable[[], None], captured: CapturedStep | None) -> None:
        self.step, self.moves, self.captured = step, moves, captured

    def __call__(self, batch: Batch) -> tuple[Outcome, list[float]]:
        """The outcome; and its loss and values as numbers. Where the loss is not finite, no parameter has moved (on the
        CPU)."""
        outcome = self.captured(batch) if self.captured else self.step(batch)
        numbers = [outcome.loss, *outcome.values.values()]
        if self.captured:  # one copy from the GPU
            return outcome, torch.stack([number.double() for number in numbers]).tolist()
        found = [float(number) for number in numbers]
        if math.isfinite(found[0]):
            self.moves()
        return outcome, found


class GradientStage:
    """The optimisers and steps of a planned stage.

    Args:
        program: on its device.
        planned: which groups move, and which terms count.
        settings: of the fit.
        steps: batches of the stage.
        first: the step of the fit at which the stage begins.
        frozen: parameters of the groups that do not move all the same.
        shared: recorded steps of other trainees and phases, which serve this stage, too; None: there are none.
        trainees: how many do the steps of this stage, one after another.
        check: receives the names of the objective's terms.
        log: receives one-line messages for the user.
    """

    def __init__(
        self,
        program: Program,
        planned: PlannedStage,
        settings: FitSettings,
        steps: int,
        first: int,
        *,
        frozen: Collection[nn.Parameter] = (),
        shared: dict[Any, Step] | None = None,
        trainees: int = 1,
        check: Callable[[Sequence[str]], None] | None = None,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.program, self.planned, self.settings, self.check, self.log = program, planned, settings, check, log
        self.device = program.progress.device
        self.shared = {} if shared is None else shared
        moving = [replace(g, parameters=[p for p in g.parameters if p not in frozen]) for g in planned.groups]
        made = [(group, optimiser_of(group, settings.lr, self.device)) for group in moving if group.parameters]
        self.optimisers: list[tuple[Group, Optimiser]] = made
        self.schedule = LRSchedule([optimiser for _, optimiser in made], settings, steps, first)
        most = max(group.steps for group in planned.groups)
        self.records = steps * trainees * most >= RECORD_FROM
        kinds: dict[tuple[str, ...], Evaluation] = {}
        self.evaluations = []
        for left in range(most, 0, -1):  # a group moves at the last of them
            names = tuple(group.name for group in planned.groups if group.steps >= left)
            if names not in kinds:
                kinds[names] = self._evaluation([pair for pair in made if pair[0].steps >= left], names)
            self.evaluations.append(kinds[names])

    def _evaluation(self, moving: list[tuple[Group, Optimiser]], names: tuple[str, ...]) -> Evaluation:
        """The evaluation at which the groups of these names move, by the optimisers of `moving`."""
        graph, key = self.device.type == "cuda", (self.planned.number, names)
        step = self.shared.get(key)
        if step is None:
            step = self.shared[key] = Step(
                self.program,
                groups=[group for group in self.planned.groups if group.name in names],
                terms=self.planned.stage.terms,
                check=self.check,
                precision=self.settings.precision,
                combine=combiner(self.settings.gradients),
                replay=self.records and not graph,
                log=self.log,
            )
        moves = partial(move, moving, self.settings.clip)
        if not graph:
            return Evaluation(step, moves, None)
        state = partial(mutable_state, self.program, [optimiser for _, optimiser in self.optimisers])
        return Evaluation(step, moves, CapturedStep(step, moves, state, log=self.log))

    def epoch(self, fit: Training, epoch: int) -> tuple[dict[str, float], dict[str, float]]:
        """One pass over the training rows, or as many steps over those that the stage chooses.

        Returns:
            name → mean value of each term, and name → weight.

        Raises:
            FitError: a loss or a gradient is not finite.
        """
        self.program.train()
        self.program.stage = self.planned.stage.name
        sums: list[float] = []
        outcome: Outcome | None = None
        rows = 0
        for number, batch in enumerate(fit.rows.shuffled(self.settings.seed, epoch, self.planned.stage), 1):
            self.schedule.set(fit.step)
            fit.set_progress()
            for evaluate in self.evaluations:
                outcome, (loss, *values) = evaluate(batch)
                if not math.isfinite(loss):
                    bad = [n for n, v in zip(outcome.values, values) if not math.isfinite(v)]
                    raise FitError(
                        f"the loss is not finite: term {', '.join(bad) or 'sum'}, epoch {epoch}, batch {number}. "
                        "Fit again with a smaller --lr or --clip."
                    )
            size = len(batch.index)
            sums = [total + value * size for total, value in zip(sums or [0.0] * len(values), values)]
            rows += size
            fit.advance(1, loss)
        assert outcome is not None
        for name, parameter in self.program.named_parameters():
            if not bool(parameter.isfinite().all()):
                raise FitError(
                    f"a gradient was not finite in epoch {epoch} ({name}), though the loss was. "
                    "Fit again with a smaller --lr or --clip."
                )
        means = {name: total / rows for name, total in zip(outcome.values, sums)}
        return means, {name: float(w) for name, w in outcome.weights.items()}

    def state(self) -> dict[str, Tensor]:
        """What the optimisers keep."""
        return moments_of(self.program, [optimiser for _, optimiser in self.optimisers])

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on with what `state` gave.

        Raises:
            ValueError: it is of other parameters.
        """
        load_moments(self.program, self.optimisers, state)
