"""The whole training step as one CUDA graph: traces, gradients, clipping and optimiser run from Python a few times,
then the GPU repeats them without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from ..core.batch import Batch
from ..kernels.codegen.triton_backend import in_short
from .step import Outcome, Step, batch_from, generators, set_generators, tensors_of

WARM_UP = 3  # steps from Python before the capture: caches and the optimiser's moments are there by then
CHECKS = 2  # batches on which the graph is compared with the step from Python
CLOSE = 1e-2  # relative difference of gradients that sums in another order can explain

Recorder = Callable[[Callable[[], Outcome]], tuple[Callable[[], None], Outcome]]


def cuda_graph(work: Callable[[], Outcome]) -> tuple[Callable[[], None], Outcome]:
    """(replay, outcome): what `work` launches, captured without being run; each replay writes into the same outcome."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            outcome = work()
    except Exception:
        torch.cuda.set_stream(stream)  # a capture that fails to end leaves its own stream as the current one
        raise
    return graph.replay, outcome


@contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
    """Inside, whatever waits for the GPU raises: a capture would fail at it, and cannot be wholly undone."""
    if device.type != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class CapturedStep:
    """Callable: batch → Outcome; the parameters are updated.

    Batches of another shape than the first (the last of an epoch) run from Python. So does everything after one line
    that says why, where the step cannot be captured or its first two replays do not repeat the step from Python.

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
        log: Callable[[str], None] = lambda line: None,
        record: Recorder = cuda_graph,
    ) -> None:
        self.step, self.update, self.state, self.log, self.record = step, update, state, log, record
        self.wanted, self.warm = True, 0
        self.shape: tuple[object, ...] | None = None
        self.inputs: list[Tensor] = []
        self.replay: Callable[[], None] | None = None
        self.outcome: Outcome | None = None
        self.checks = CHECKS

    def __call__(self, batch: Batch) -> Outcome:
        tensors = tensors_of(batch)
        shape = (batch.size, *(t.shape for t in tensors))
        self.shape = self.shape or shape
        if shape != self.shape:
            return self._from_python(batch)
        if self.wanted and self.warm == WARM_UP and self.checks:
            return self._checked(batch, tensors)
        if self.replay is not None:
            return self._from_graph(tensors)
        self.warm += self.warm < WARM_UP
        return self._from_python(batch)

    def _from_python(self, batch: Batch) -> Outcome:
        outcome = self.step(batch)
        self.update()
        return outcome

    def _from_graph(self, tensors: list[Tensor]) -> Outcome:
        assert self.replay is not None and self.outcome is not None
        for mine, new in zip(self.inputs, tensors):
            mine.copy_(new, non_blocking=True)
        self.replay()
        return self.outcome

    def _checked(self, batch: Batch, tensors: list[Tensor]) -> Outcome:
        """One step, twice from the same state: from Python, and from the graph (captured first, if it was not yet)."""
        device = batch.index.device
        before = self._state(device)
        reason = ""
        try:
            with no_waiting(device):
                expected = self._from_python(batch)
        except RuntimeError as error:
            reason = in_short(error)
            self._set(before, device)
            expected = self._from_python(batch)
        if not expected.loss.isfinite():
            return expected  # the fit is about to stop and say so
        slopes, after = self._gradients(), self._state(device)
        if device.type == "cuda" and not torch.equal(after[1][0], before[1][0]):
            reason = reason or "it draws random numbers on the CPU."
        if not reason:
            self._set(before, device)
            try:
                if self.replay is None:
                    self._capture(batch, tensors)
                outcome = self._from_graph(tensors)
                if not (_close(outcome.loss, expected.loss) and _close(self._gradients(), slopes)):
                    reason = "a replay does not repeat the step."
            except Exception as error:  # whatever a user's program does that cannot be captured
                reason = in_short(error)
        if reason:
            self._set(after, device)
            self.wanted, self.replay = False, None
            self.log(f"{type(self.step.program).__name__} runs from Python, not as a CUDA graph: {reason}")
            return expected
        self.checks -= 1
        return outcome

    def _capture(self, batch: Batch, tensors: list[Tensor]) -> None:
        self.inputs = [t.clone() for t in tensors]
        # the batch is made inside: what it derives from its tensors has to be derived at every replay
        self.replay, self.outcome = self.record(lambda: self._from_python(batch_from(self.inputs, batch)))

    def _state(self, device: torch.device) -> tuple[list[Tensor], list[Tensor]]:
        return [t.clone() for t in self.state()], generators(device)

    def _gradients(self) -> Tensor:
        return torch.cat([p.grad.flatten() for p in self.step.parameters if p.grad is not None])

    @torch.no_grad()
    def _set(self, saved: tuple[list[Tensor], list[Tensor]], device: torch.device) -> None:
        for tensor, value in zip(self.state(), saved[0], strict=True):
            tensor.copy_(value)
        set_generators(device, saved[1])


def _close(found: Tensor, expected: Tensor) -> bool:
    """Up to CLOSE, by norm; not where anything is not finite."""
    return bool((found - expected).norm() <= CLOSE * expected.norm())
