"""The whole training step as one CUDA graph: traces, gradients, clipping and optimiser run from Python a few times,
then the GPU repeats them without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .batch import Batch
from .program import Program
from .step import Outcome, Step, batch_from, generators, set_generators, tensors_of

WARM_UP = 3  # steps from Python before the capture: caches and the optimiser's moments are there by then
CLOSE = 1e-2  # relative difference of gradients that sums in another order can explain

Recorder = Callable[[Callable[[], Outcome]], tuple[Callable[[], None], Outcome]]


def adam(program: Program, lr: float, device: torch.device) -> torch.optim.Adam:
    """Adam in one pass over all parameters; on a GPU one that a graph can hold, with its rate in the GPU's memory."""
    fused = {p.dtype for p in program.parameters()} <= {torch.float32, torch.float64}
    if device.type != "cuda":
        return torch.optim.Adam(program.parameters(), lr=lr, fused=fused)
    return torch.optim.Adam(program.parameters(), lr=torch.tensor(lr, device=device), fused=fused, capturable=True)


def moving(program: Program, optimiser: torch.optim.Adam) -> list[Tensor]:
    """Everything that a step changes in place."""
    moments = [t for state in optimiser.state.values() for t in state.values()]
    return [*program.parameters(), *program.buffers(), *moments]


def cuda_graph(work: Callable[[], Outcome]) -> tuple[Callable[[], None], Outcome]:
    """(replay, outcome): what `work` launches, captured without being run; each replay writes into the same outcome."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outcome = work()
    return graph.replay, outcome


class CapturedStep:
    """Callable: batch → Outcome; the parameters are updated.

    Batches of another shape than the first (the last of an epoch) run from Python. So does everything after one line
    that says why, where the step cannot be captured or its first replay does not repeat the step from Python.

    Args:
        step: leaves the gradients in the parameters; must not record on its own (`replay=False`).
        update: clips the gradients and moves the parameters.
        state: gives all tensors that a step changes in place: parameters, buffers, moments.
        record: captures; another one in tests.
    """

    def __init__(
        self,
        step: Step,
        update: Callable[[], None],
        state: Callable[[], Sequence[Tensor]],
        *,
        say: Callable[[str], None] = lambda line: None,
        record: Recorder = cuda_graph,
    ) -> None:
        self.step, self.update, self.state, self.say, self.record = step, update, state, say, record
        self.wanted, self.warm = True, 0
        self.shape: tuple[object, ...] | None = None
        self.inputs: list[Tensor] = []
        self.replay: Callable[[], None] | None = None
        self.outcome: Outcome | None = None

    def __call__(self, batch: Batch) -> Outcome:
        tensors = tensors_of(batch)
        shape = (batch.size, *(t.shape for t in tensors))
        self.shape = self.shape or shape
        if shape != self.shape:
            return self._from_python(batch)
        if self.replay is not None and self.outcome is not None:
            for mine, new in zip(self.inputs, tensors):
                mine.copy_(new, non_blocking=True)
            self.replay()
            return self.outcome
        if self.wanted and self.warm == WARM_UP:
            return self._capture(batch, tensors)
        self.warm += self.warm < WARM_UP
        return self._from_python(batch)

    def _from_python(self, batch: Batch) -> Outcome:
        outcome = self.step(batch)
        self.update()
        return outcome

    def _capture(self, batch: Batch, tensors: list[Tensor]) -> Outcome:
        """One step, twice: from Python, then captured and replayed from the same state. It counts if it agrees."""
        device = batch.index.device
        before = [t.clone() for t in self.state()], generators(device)
        expected = self._from_python(batch)
        slopes = self._gradients()
        after = [t.clone() for t in self.state()], generators(device)
        self._set(before, device)
        reason = ""
        try:
            self.inputs = [t.clone() for t in tensors]
            static = batch_from(self.inputs, batch)
            replay, outcome = self.record(lambda: self._from_python(static))
            replay()
            if not (_close(outcome.loss, expected.loss) and _close(self._gradients(), slopes)):
                reason = "its replay does not repeat the step."
        except Exception as error:  # whatever a user's program does that cannot be captured
            reason = f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else 'no reason given'}"
        if reason:
            self._set(after, device)
            self.wanted = False
            self.say(f"{type(self.step.program).__name__} runs from Python, not as a CUDA graph: {reason}")
            return expected
        self.replay, self.outcome = replay, outcome
        return outcome

    def _gradients(self) -> Tensor:
        return torch.cat([p.grad.flatten() for p in self.step.parameters if p.grad is not None])

    @torch.no_grad()
    def _set(self, saved: tuple[list[Tensor], list[Tensor]], device: torch.device) -> None:
        for tensor, value in zip(self.state(), saved[0]):
            tensor.copy_(value)
        set_generators(device, saved[1])


def _close(found: Tensor, expected: Tensor) -> bool:
    """Up to CLOSE, by norm; not where anything is not finite."""
    return bool((found - expected).norm() <= CLOSE * expected.norm())
