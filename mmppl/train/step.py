"""One training step: a program's terms on a batch and their gradients. (On a GPU `capture` takes the whole step.)

The first full batch runs eagerly, with Pyro's validation. Then the step (traces of guide and model, terms, backward) is
recorded once as a graph of tensor operations and replayed, so that Pyro and autograd cost nothing per step. A recording
that does not give the eager step's bits on two batches is thrown away, and the program runs eagerly after one line that
says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..core.batch import Batch
from ..core.program import Program
from ..core.stages import Group
from ..core.terms import Terms, Weight, terms_of
from ..distributions.fan_out import Combine, combining
from ..errors import UsageError
from ..kernels.codegen.triton_backend import in_short
from .fx_graph import simplify
from .gradients import gradients_of
from .replay import plain_function

CHECKS = 2  # batches on which a recording is compared with the eager step: the second has other holes, another progress


class Outcome(NamedTuple):
    """Loss, values and weights of one step; the gradients lie in the parameters' `.grad`."""

    loss: Tensor
    values: dict[str, Tensor]
    weights: dict[str, Weight]


class Step:
    """Callable: batch → Outcome. Leaves the gradients in the parameters.

    Args:
        program: in training mode; its Python state must not change between steps (`progress` and other buffers may).
        groups: of the parameters that get gradients; None: all, which descend all terms.
        terms: names of those that count, the others have weight 0; None: all.
        check: receives the names of the objective's terms at the first batch.
        precision: "bf16" runs the networks under autocast.
        combine: what combines the gradients of decoders that share a latent; None: their sum.
        replay: False never records.
        log: receives the one line that says why a program cannot be recorded.

    Raises:
        UsageError: at the first batch, where no term that counts depends on a group.
    """

    def __init__(
        self,
        program: Program,
        *,
        groups: Sequence[Group] | None = None,
        terms: Sequence[str] | None = None,
        check: Callable[[Sequence[str]], None] | None = None,
        precision: str = "fp32",
        combine: Combine | None = None,
        replay: bool = True,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.program, self.precision, self.log = program, precision, log
        self.groups = [Group("program", [p for p in program.parameters() if p.requires_grad])]
        if groups is not None:
            self.groups = list(groups)
        self.terms, self.check, self.combine = terms, check, combine
        self.parameters = [p for group in self.groups for p in group.parameters]
        self.replay = replay
        self.checks = CHECKS
        self.recorded: Callable[..., Any] | None = None
        self.always: frozenset[str] = frozenset()  # modalities that no batch with patterns misses
        self.whole: list[str] = []  # those that missed nothing when the step was recorded,
        self.recorded_whole: Callable[..., Any] | None = None  # and the recording for batches that keep it so
        self.shape: tuple[Any, ...] | None = None
        self.names: list[str] = []
        self.weights: dict[str, Weight] = {}  # those that are numbers
        self.moving: list[str] = []  # terms whose weight is a tensor
        self.places: list[tuple[nn.Module, str]] = []  # of the buffers
        self.may_overflow = True

    def __call__(self, batch: Batch) -> Outcome:
        tensors = tensors_of(batch)
        shape = (batch.size, batch.patterns is None, *[t.shape for t in tensors])
        ready = self.recorded is not None and not self.checks and shape == self.shape
        if batch.patterns is None or (ready and not self.may_overflow):
            return (self._replayed(batch, tensors) if ready else self._from_program(batch, tensors, shape))[0]
        before = [b.clone() for b in self.program.buffers()], generators(batch.index.device)
        outcome, overflow = self._replayed(batch, tensors) if ready else self._from_program(batch, tensors, shape)
        if overflow is not None and bool(overflow):  # more rows count than there was room for: once more, with all
            self._set(*before, batch.index.device)
            with pyro.validation_enabled(False):
                outcome, _ = self._eager(replace(batch, patterns=None))
        return outcome

    def _from_program(
        self, batch: Batch, tensors: list[Tensor], shape: tuple[Any, ...]
    ) -> tuple[Outcome, Tensor | None]:
        """The step by the program's own code; recorded, where it is the second or third of its shape."""
        if self.shape is None:  # the first batch: validate what Pyro can
            self.shape = shape
            with pyro.validation_enabled(True):
                outcome, overflow = self._eager(batch)
            self._check_groups()
            return outcome, overflow
        with pyro.validation_enabled(False):
            if self.replay and self.checks and shape == self.shape:
                return self._checked(batch, tensors)
            return self._eager(batch)

    def _replayed(self, batch: Batch, tensors: list[Tensor]) -> tuple[Outcome, Tensor | None]:
        recorded = self._recordings(batch)[-1]
        for parameter in self.parameters:
            parameter.grad = None  # the new gradients take the memory of the old ones
        with torch.no_grad():
            outcome, gradients, overflow = self._outcome(recorded(*self._buffers(), *tensors))
        self._keep(gradients)
        return outcome, overflow

    def _buffers(self) -> list[Tensor]:
        """The program's buffers, in their order."""
        return [module._buffers[name] for module, name in self.places]  # type: ignore[misc]

    def _outcome(self, flat: list[Any]) -> tuple[Outcome, list[Tensor | None], Tensor | None]:
        """What a recording has put out."""
        n, m = 1 + len(self.names), 1 + len(self.names) + len(self.parameters)
        weights = self.weights | dict(zip(self.moving, flat[m:-1])) if self.moving else self.weights
        return Outcome(flat[0], dict(zip(self.names, flat[1:n])), weights), flat[n:m], flat[-1]

    def _check_groups(self) -> None:
        for group in self.groups:
            if all(p.grad is None for p in group.parameters):
                raise UsageError(
                    f"{type(self.program).__name__}: no term that counts depends on the parameters of group "
                    f"{group.name!r}; let one count that does, or leave the group out of the stage."
                )

    def _keep(self, gradients: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self.parameters, gradients):
            parameter.grad = gradient

    @torch.no_grad()
    def _set(self, buffers: Sequence[Tensor], random: Sequence[Tensor], device: torch.device) -> None:
        """Put back the state of the program and of the generators."""
        for buffer, before in zip(self.program.buffers(), buffers):
            buffer.copy_(before)
        set_generators(device, random)

    def _eager(self, batch: Batch) -> tuple[Outcome, Tensor | None]:
        outcome, gradients, overflow = self._compute(batch)
        self._keep(gradients)
        return outcome, overflow

    def _compute(self, batch: Batch) -> tuple[Outcome, list[Tensor | None], Tensor | None]:
        """Outcome, gradients, and whether the batch needed more room than its patterns promise (None: no room set)."""
        overflows: list[Tensor] = []
        if batch.patterns is not None:
            batch = replace(batch, patterns=replace(batch.patterns, overflow=overflows))
        with autocast(self.precision, batch.index.device), combining(self.combine):
            terms = terms_of(self.program, batch)
            if self.check is not None:
                self.check(list(terms))
                self.check = None
            counting = terms if self.terms is None else Terms({n: terms[n] for n in terms if n in self.terms})
            loss = counting.loss
        gradients = gradients_of(counting, loss, self.groups)
        values = {name: value.detach() for name, (value, _) in terms.items()}
        weights: dict[str, Weight] = dict.fromkeys(terms, 0.0)
        weights |= {n: w.detach() if isinstance(w, Tensor) else w for n, (_, w) in counting.items()}
        overflow = torch.stack(overflows).any() if overflows else None
        return Outcome(loss.detach(), values, weights), gradients, overflow

    def _recordings(self, batch: Batch) -> list[Callable[..., Any]]:
        """Those that serve the batch; the last one does the least."""
        found = [self.recorded] if self.recorded is not None else []
        if self.recorded_whole is not None and all(
            batch.observed[name].all() for name in self.whole if batch.patterns is None or name not in self.always
        ):
            found.append(self.recorded_whole)
        return found

    def _checked(self, batch: Batch, tensors: list[Tensor]) -> tuple[Outcome, Tensor | None]:
        """The eager step, which the recordings (made first, if they were not yet) have to repeat bit for bit."""
        device = batch.index.device
        before = [b.clone() for b in self.program.buffers()], generators(device)
        outcome, gradients, overflow = self._compute(batch)
        self._keep(gradients)
        if not outcome.loss.isfinite():
            return outcome, overflow  # the fit is about to stop and say so
        after = [b.clone() for b in self.program.buffers()], generators(device)
        expected = [outcome.loss, *outcome.values.values(), *gradients, *after[0], *after[1]]
        reason = ""
        try:
            if self.recorded is None:
                self._set(*before, device)
                self._record(batch, tensors)
            for recording in self._recordings(batch):
                self._set(*before, device)
                with torch.no_grad():
                    found, slopes, _ = self._outcome(recording(*self._buffers(), *tensors))
                results = [found.loss, *found.values.values(), *slopes]
                if not _equal([*results, *self.program.buffers(), *generators(device)], expected):
                    reason = "the recording does not repeat the eager step."
        except Exception as error:  # whatever a user's program does that cannot be recorded
            reason = in_short(error).split(" - ")[0]
        self._set(*after, device)
        self.checks -= 1
        if reason:
            self.replay, self.recorded, self.recorded_whole = False, None, None
            self.log(f"{type(self.program).__name__} runs step by step, not as a recorded graph: {reason}")
        return outcome, overflow

    def _record(self, batch: Batch, tensors: list[Tensor]) -> None:
        """Record the step on `batch`, for any batch and for those that miss no more than it does."""
        from torch.fx.experimental.proxy_tensor import make_fx  # a second's import, which short fits can do without

        names, call = list(batch.values), _Call(self)
        held = dict(self.program.named_buffers())
        modules = dict(self.program.named_modules())
        self.places = [(modules[n.rpartition(".")[0]], n.rpartition(".")[2]) for n in held]

        def step(*flat: Tensor) -> list[Tensor | None]:
            # the buffers come in as arguments, so that a program that reads one's number (`float(self.progress)`) is
            # refused instead of frozen at today's number
            named = {f"program.{n}": b for n, b in zip(held, flat)}
            outcome, gradients, overflow = functional_call(call, named, (batch_from(flat[len(held) :], batch),))
            self.names = list(outcome.values)
            self.weights = {n: w for n, w in outcome.weights.items() if not isinstance(w, Tensor)}
            moving = {n: w for n, w in outcome.weights.items() if isinstance(w, Tensor)}
            self.moving, self.may_overflow = list(moving), overflow is not None
            return [outcome.loss, *outcome.values.values(), *gradients, *moving.values(), overflow]

        graph = make_fx(step)(*(b.clone() for b in held.values()), *tensors)
        self.whole = [name for name in names if batch.observed[name].all()]
        patterns = batch.patterns
        if patterns is not None:
            self.always = frozenset(n for n, column in zip(patterns.names, patterns.table.T) if column.all())
        masks = [names.index(name) - len(names) for name in self.whole]  # the inputs end with `observed`
        self.recorded, self.recorded_whole = (plain_function(simplify(graph, whole)) for whole in ((), masks))


class _Call(nn.Module):
    """The step's computation as a module call, for `functional_call`."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.program = step.program
        self.compute = step._compute

    def forward(self, batch: Batch) -> tuple[Outcome, list[Tensor | None], Tensor | None]:
        return self.compute(batch)


def _equal(one: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> bool:
    """Bit for bit, None where None."""
    return all((a is None) == (b is None) and (a is None or b is None or torch.equal(a, b)) for a, b in zip(one, other))


def tensors_of(batch: Batch) -> list[Tensor]:
    """What differs from batch to batch: index, values, present, and last observed."""
    return [batch.index, *batch.values.values(), *batch.present.values(), *batch.observed.values()]


def batch_from(tensors: Sequence[Tensor], like: Batch) -> Batch:
    """A batch of the same build with other `tensors_of`."""
    index, *rest = tensors
    of_present = rest[len(like.values) : -len(like.values)]
    values, observed = dict(zip(like.values, rest)), dict(zip(like.values, rest[-len(like.values) :]))
    present = dict(zip(like.present, of_present))
    return Batch(values, observed, index, like.size, like.encoded, patterns=like.patterns, present=present)


def generators(device: torch.device) -> list[Tensor]:
    """States of the generators that a step draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_generators(device: torch.device, states: Sequence[Tensor]) -> None:
    """Put those states back."""
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 autocast for the networks, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
