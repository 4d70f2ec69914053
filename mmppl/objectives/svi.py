"""A program's objective as a loss for Pyro's SVI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from pyro.infer import ELBO
from torch import Tensor

from ..core.batch import Batch
from ..core.pyro_method import register_parameters
from ..core.terms import terms_of
from .traces import trace

if TYPE_CHECKING:
    from ..core.program import Program


class ObjectiveELBO(ELBO):
    """A program's objective for `pyro.infer.SVI(p.model, p.guide, optim, loss=ObjectiveELBO(p))`.

    The loss is N × Σ weight·value in nats (SVI's scale). Unlike Pyro's own losses of the same model and guide, it has
    the weights, the warm-up and the terms that are no part of an ELBO.

    Args:
        program: the program.

    Example:
        >>> import pyro
        >>> from mmppl import Modality, load_program
        >>> program = load_program("mvae")([Modality("x", (3,), "normal")])
        >>> values, everywhere = {"x": torch.zeros(5, 3)}, {"x": torch.ones(5, dtype=torch.bool)}
        >>> batch = Batch(values, everywhere, index=torch.arange(5), size=5, encoded=program.encoded)
        >>> optimiser = pyro.optim.Adam({"lr": 1e-3})
        >>> svi = pyro.infer.SVI(program.model, program.guide, optimiser, loss=ObjectiveELBO(program))
        >>> loss = svi.step(batch)
        >>> pyro.clear_param_store()
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        traces = trace(self.program, *args, **kwargs)
        return traces.model, traces.guide

    def differentiable_loss(self, model: Any, guide: Any, batch: Batch) -> Tensor:
        """The loss as a tensor.

        Args:
            model: the program's model, which is known already.
            guide: the program's guide, which is known already.
            batch: the batch.

        Returns:
            A scalar in nats.
        """
        register_parameters(self.program)
        return batch.size * terms_of(self.program, batch).loss

    def loss(self, model: Any, guide: Any, batch: Batch) -> float:
        """The loss as a number, without a gradient.

        Args:
            model: the program's model, which is known already.
            guide: the program's guide, which is known already.
            batch: the batch.

        Returns:
            Nats.
        """
        with torch.no_grad():
            return self.differentiable_loss(model, guide, batch).item()

    def loss_and_grads(self, model: Any, guide: Any, batch: Batch) -> float:
        """The loss as a number, after its gradient has been added to the parameters'.

        Args:
            model: the program's model, which is known already.
            guide: the program's guide, which is known already.
            batch: the batch.

        Returns:
            Nats.
        """
        loss = self.differentiable_loss(model, guide, batch)
        loss.backward()
        return loss.item()
