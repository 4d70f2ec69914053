"""A program's objective for Pyro's SVI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from pyro.infer import ELBO
from torch import Tensor

from ..core.batch import Batch
from ..core.program import terms_of
from ..core.pyro_method import register_parameters
from .traces import trace

if TYPE_CHECKING:
    from ..core.program import Program


class ObjectiveELBO(ELBO):
    """A program's objective for `pyro.infer.SVI(p.model, p.guide, optim, loss=ObjectiveELBO(p))`.

    The loss is N × Σ weight·value (SVI's scale): weights, warm-up and terms that are no part of an ELBO count, which
    Pyro's own losses of the same pair leave out.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        traces = trace(self.program, *args, **kwargs)
        return traces.model, traces.guide

    def differentiable_loss(self, model: Any, guide: Any, batch: Batch) -> Tensor:
        register_parameters(self.program)
        return batch.size * terms_of(self.program, batch).loss

    def loss(self, model: Any, guide: Any, batch: Batch) -> float:
        with torch.no_grad():
            return self.differentiable_loss(model, guide, batch).item()

    def loss_and_grads(self, model: Any, guide: Any, batch: Batch) -> float:
        loss = self.differentiable_loss(model, guide, batch)
        loss.backward()
        return loss.item()
