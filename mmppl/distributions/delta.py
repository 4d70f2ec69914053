"""A code without noise, for programs that encode a row as one point; and the prior, for rows that show nothing."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import Delta, constraints
from torch import Tensor

from .gaussian import Gaussian


class DeltaOrPrior(Delta):
    """δ(z − code) for rows of which anything is known, and the prior for the others: the answer of a deterministic
    encoder to a query.

    Args:
        code: (..., B, D) codes; those of rows of which nothing is known may be anything finite.
        known: (..., B) bool.
        prior: of the other rows, of event shape (D,).

    Example:
        >>> prior = Gaussian(torch.zeros(2), torch.zeros(2))
        >>> q = DeltaOrPrior(torch.ones(3, 2), torch.tensor([True, True, False]), prior)
        >>> q.mean.tolist(), q.variance[:, 0].tolist()
        ([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]], [0.0, 0.0, 1.0])
    """

    support = constraints.real_vector

    def __init__(self, code: Tensor, known: Tensor, prior: Gaussian) -> None:
        super().__init__(code, event_dim=1)
        self.known = known.expand(self.batch_shape).unsqueeze(-1)
        self.prior = prior

    @property
    def mean(self) -> Tensor:
        return torch.where(self.known, self.v, self.prior.mean)

    @property
    def variance(self) -> Tensor:
        return torch.where(self.known, 0.0, self.prior.variance).expand_as(self.v)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        drawn = self.prior.expand(self.batch_shape).rsample(sample_shape)
        return torch.where(self.known, self.v, drawn)

    def from_uniform(self, u: Tensor) -> Tensor:
        """Draw by inverting the distribution function.

        Args:
            u: (..., B, D) uniforms.

        Returns:
            Draws of the same shape.
        """
        return torch.where(self.known, self.v, self.prior.from_uniform(u))

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.where(self.known.squeeze(-1), super().log_prob(x), self.prior.log_prob(x))

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> DeltaOrPrior:
        shape = torch.Size(batch_shape)
        return DeltaOrPrior(self.v.expand(*shape, *self.event_shape), self.known.squeeze(-1).expand(shape), self.prior)


def is_deterministic(fn: Any) -> bool:
    """Return whether a distribution puts all its mass on one point, so that it has no density to weigh draws by.

    Args:
        fn: a distribution of Pyro's.

    Returns:
        True for a Delta, also within other distributions, and for `DeltaOrPrior`.

    Example:
        >>> is_deterministic(Delta(torch.zeros(3, 2)).to_event(1)), is_deterministic(Gaussian(*torch.zeros(2, 3, 2)))
        (True, False)
    """
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return isinstance(fn, Delta)
