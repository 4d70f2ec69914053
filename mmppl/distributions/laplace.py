"""Latents with heavier tails: independent Laplaces by location and scale, as a Pyro distribution."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from ..base.precision import full_precision
from ..base.random import off_the_ends

LEAST_SCALE = 1e-6


class Laplace(TorchDistribution):
    """Independent Laplaces over vectors, Π_d e^(−|z_d − loc_d|/scale_d) / (2 scale_d).

    The batch shape is (..., B) and the event shape (D,).

    Args:
        loc: (..., B, D) locations.
        scale: (..., B, D) scales, which are broadcast against the locations. The variance is 2 scale².

    Example:
        >>> q = Laplace(torch.zeros(2), torch.ones(2))
        >>> q.log_prob(torch.zeros(2)), q.variance
        (tensor(-1.3863), tensor([2., 2.]))
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = torch.broadcast_tensors(full_precision(loc), full_precision(scale))
        super().__init__(self.loc.shape[:-1], self.loc.shape[-1:], validate_args=False)

    @property
    def parameters(self) -> tuple[Tensor, Tensor]:
        """Location and scale, (..., B, D) each."""
        return self.loc, self.scale

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.square()

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        shape = (*sample_shape, *self.loc.shape)
        return self.from_uniform(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    def from_uniform(self, u: Tensor) -> Tensor:
        """Draw by inverting the distribution function.

        Args:
            u: (..., B, D) uniforms.

        Returns:
            Draws of the same shape.
        """
        centred = off_the_ends(u) - 0.5
        return self.loc - self.scale * centred.sign() * torch.log1p(-2 * centred.abs())

    def log_prob(self, value: Tensor) -> Tensor:
        """ln of the density in nats, summed over the event.

        Args:
            value: (..., B, D).

        Returns:
            (..., B) nats.
        """
        return -((value - self.loc).abs() / self.scale + self.scale.log() + math.log(2)).sum(-1)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Laplace:
        shape = (*batch_shape, self.loc.shape[-1])
        return Laplace(self.loc.expand(shape), self.scale.expand(shape))


def shared_scales(logits: Tensor) -> Tensor:
    """Scales that share a budget: softmax(logits)·D, whose mean over the D dimensions is 1. The scale of the latent
    space as a whole is thus fixed.

    Args:
        logits: (..., D).

    Returns:
        (..., D) scales.

    Source: Shi et al. 2019, arXiv:1911.03393, in the authors' code.

    Example:
        >>> shared_scales(torch.zeros(3))
        tensor([1., 1., 1.])
    """
    return torch.softmax(full_precision(logits), -1) * logits.shape[-1]


def laplace_head(output: Tensor) -> tuple[Tensor, Tensor]:
    """Read a network's output as the parameters of a Laplace.

    Args:
        output: (..., 2D).

    Returns:
        Location and scale (`shared_scales` + 1e-6), (..., D) each.

    Example:
        >>> loc, scale = laplace_head(torch.zeros(5, 6))
        >>> loc.shape, scale.shape
        (torch.Size([5, 3]), torch.Size([5, 3]))
    """
    loc, logits = full_precision(output).chunk(2, -1)
    return loc, shared_scales(logits) + LEAST_SCALE
