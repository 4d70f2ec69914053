"""A stage that looks at all training rows at once: L-BFGS, or a function of the program (closed form, EM)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import pyro
import torch
from torch import Tensor, nn

from ...base.turns import taking_turns
from ...core.batch import Batch
from ...core.program import Program
from ...core.terms import Terms, terms_of
from ...errors import FitError, UsageError
from ..rows import Rows
from ..settings import FitSettings
from ..step import autocast
from ..validate import mean_terms
from .plan import PlannedStage

if TYPE_CHECKING:
    from ..loop import Training

HISTORY, ITERATIONS = 10, 20  # of L-BFGS: steps that it remembers, and steps per epoch
TENSORS, NUMBERS, LISTS = ("d", "prev_flat_grad"), ("t", "H_diag", "prev_loss"), ("old_dirs", "old_stps", "ro")
COUNTS = ("func_evals", "n_iter")


class Batches:
    """The training rows in batches, in the order of the file; each iteration begins anew."""

    def __init__(self, rows: Rows, epoch: int, seed: int) -> None:
        self.rows, self.values = rows, rows.of_epoch(seed, epoch)

    def __iter__(self) -> Iterator[Batch]:
        return self.rows.in_order(self.values)

    def __len__(self) -> int:
        return -(-len(self.values) // self.rows.batch_size)


class WholeDataStage:
    """A planned stage whose update is "lbfgs" or a function.

    Args:
        program: on its device.
        planned: which parameters may change, and which terms count.
        settings: of the fit.
        check: receives the names of the objective's terms.
        frozen: parameters that do not change all the same.
    """

    def __init__(
        self,
        program: Program,
        planned: PlannedStage,
        settings: FitSettings,
        check: Callable[[Sequence[str]], None] | None = None,
        *,
        frozen: Collection[nn.Parameter] = (),
    ) -> None:
        self.program, self.planned, self.settings, self.check = program, planned, settings, check
        self.parameters = [p for group in planned.groups for p in group.parameters if p not in frozen]
        self.lbfgs: torch.optim.LBFGS | None = None
        if planned.stage.update == "lbfgs":
            self.lbfgs = torch.optim.LBFGS(
                self.parameters, max_iter=ITERATIONS, history_size=HISTORY, line_search_fn="strong_wolfe"
            )

    def epoch(self, fit: Training, epoch: int) -> tuple[dict[str, float], dict[str, float]]:
        """One update, and the terms on the training rows after it.

        Returns:
            name → mean value of each term, and name → weight.

        Raises:
            FitError: a term is not finite.
            UsageError: the function has changed a parameter that its stage does not name.
        """
        fit.set_progress()
        self.program.stage = self.planned.stage.name
        batches, stage = Batches(fit.rows, epoch, self.settings.seed), self.planned.stage
        with pyro.validation_enabled(False):
            if self.lbfgs is not None:
                self.program.eval()
                self.lbfgs.step(lambda: self._loss(batches))
            else:
                self.program.train()
                self._call(stage.update, batches)  # type: ignore[arg-type]
            values, weights = mean_terms(
                self.program,
                batches,
                seed=self.settings.seed,
                precision=self.settings.precision,
                terms=stage.terms,
            )
        if self.check is not None:
            self.check(list(values))
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise FitError(
                f"stage {stage.name!r} leaves a loss that is not finite: {', '.join(bad)}, epoch {epoch}. Look at its "
                "update, or fit again with other settings."
            )
        steps = fit.rows.steps_before(epoch + 1) - fit.rows.steps_before(epoch)
        fit.advance(steps, sum(weights[name] * value for name, value in values.items()))
        return values, weights

    def _call(self, update: Callable[[Program, Batches], None], batches: Batches) -> None:
        ours = set(self.parameters)
        others = {n: p.detach().clone() for n, p in self.program.named_parameters() if p not in ours}
        with torch.no_grad():
            update(self.program, batches)
        for name, parameter in self.program.named_parameters():
            if name in others and not torch.equal(parameter, others[name]):
                raise UsageError(
                    f"{type(self.program).__name__}: stage {self.planned.stage.name!r} changed {name}, which is in "
                    "none of its groups; name its group, or leave it alone."
                )

    def _loss(self, batches: Batches) -> Tensor:
        """The loss of all training rows, always with the same noise; its gradients go to the parameters."""
        counting, total = self.planned.stage.terms, torch.zeros(())
        slopes = [torch.zeros_like(parameter) for parameter in self.parameters]
        with torch.random.fork_rng():
            torch.manual_seed(self.settings.seed)
            for batch in taking_turns(batches):
                with autocast(self.settings.precision, batch.index.device):
                    found = terms_of(self.program, batch)
                    if self.check is not None:
                        self.check(list(found))
                    moving = {n: pair for n, pair in found.items() if counting is None or n in counting}
                    loss = Terms(moving).loss * (len(batch) / batch.size)
                gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
                for slope, gradient in zip(slopes, gradients):
                    if gradient is not None:
                        slope += gradient
                total = total.to(loss.device) + loss.detach()
        for parameter, slope in zip(self.parameters, slopes):
            parameter.grad = slope
        return total

    def state(self) -> dict[str, Tensor]:
        """What L-BFGS remembers; nothing of a function, whose memory is the program's buffers."""
        if self.lbfgs is None:
            return {}
        kept = self.lbfgs.state[self.parameters[0]]
        found = {name: torch.tensor(kept[name]) for name in COUNTS if name in kept}
        found |= {name: kept[name] for name in TENSORS if isinstance(kept.get(name), Tensor)}
        for name in NUMBERS:
            if name in kept:
                number = kept[name]
                key = name if isinstance(number, Tensor) else f"float/{name}"
                found[key] = torch.as_tensor(number, dtype=None if key == name else torch.float64)
        for name in LISTS:
            found |= {f"{name}/{place:03}": value for place, value in enumerate(kept.get(name, []))}
        return {f"lbfgs/{name}": value for name, value in found.items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Go on with what `state` gave.

        Raises:
            ValueError: it is of something else.
        """
        size = sum(p.numel() for p in self.parameters)
        left = {name.removeprefix("lbfgs/"): value for name, value in state.items()}
        if (self.lbfgs is None and state) or any(not name.startswith("lbfgs/") for name in state):
            raise ValueError(f"moments of no parameter that moves ({min(state)})")
        if self.lbfgs is None or not left:
            return
        try:
            kept = {name: int(left.pop(name)) for name in COUNTS}
            found: dict[str, object] = {**kept, **{name: left.pop(name) for name in TENSORS if name in left}}
            for name in NUMBERS:
                if f"float/{name}" in left:
                    found[name] = float(left.pop(f"float/{name}"))
                elif name in left:
                    found[name] = left.pop(name)
            if kept["n_iter"]:
                for name in LISTS:
                    found[name] = [left.pop(key) for key in sorted(k for k in left if k.startswith(f"{name}/"))]
        except (KeyError, ValueError, TypeError) as error:
            raise ValueError(f"the memory of L-BFGS is not whole ({error})") from None
        if left or any(isinstance(found.get(name), Tensor) and found[name].shape != (size,) for name in TENSORS):  # type: ignore[attr-defined]
            raise ValueError("the memory of L-BFGS is of other parameters")
        device = self.parameters[0].device
        self.lbfgs.state[self.parameters[0]] = {
            name: [v.to(device) for v in value]
            if isinstance(value, list)
            else (value.to(device) if isinstance(value, Tensor) else value)
            for name, value in found.items()
        }
