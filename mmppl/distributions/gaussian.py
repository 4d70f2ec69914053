"""The distribution of latents: a diagonal Gaussian by mean and log-variance, as a Pyro distribution."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import register_kl

from ..base.precision import full_precision
from ..base.random import off_the_ends
from ..kernels.gaussian import gaussian_kl, gaussian_kl_standard, gaussian_log_density

LOG_VAR_RANGE = (-12.0, 12.0)


class Gaussian(TorchDistribution):
    """N(loc, diag e^log_var) over vectors, with batch shape (..., B) and event shape (D,).

    Pyro's Normal takes a scale. From the log-variance, the KL and the density need no logarithm and never divide by
    zero.

    Args:
        loc: (..., B, D) means.
        log_var: (..., B, D) log-variances, which are broadcast against the means.

    Example:
        >>> q = Gaussian(torch.zeros(3, 2), torch.zeros(3, 2))
        >>> q.batch_shape, q.event_shape
        (torch.Size([3]), torch.Size([2]))
        >>> q.log_prob(torch.zeros(3, 2))
        tensor([-1.8379, -1.8379, -1.8379])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, log_var: Tensor) -> None:
        self.loc, self.log_var = torch.broadcast_tensors(full_precision(loc), full_precision(log_var))
        super().__init__(self.loc.shape[:-1], self.loc.shape[-1:], validate_args=False)

    @property
    def parameters(self) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, (..., B, D) each."""
        return self.loc, self.log_var

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.log_var.exp()

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        noise = torch.randn((*sample_shape, *self.loc.shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + noise * torch.exp(0.5 * self.log_var)

    def from_uniform(self, u: Tensor) -> Tensor:
        """Draw by inverting the distribution function.

        Args:
            u: (..., B, D) uniforms.

        Returns:
            Draws of the same shape.
        """
        return self.loc + torch.exp(0.5 * self.log_var) * torch.special.ndtri(off_the_ends(u))

    def log_prob(self, value: Tensor) -> Tensor:
        return gaussian_log_density(value, self.loc, self.log_var)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Gaussian:
        shape = (*batch_shape, self.loc.shape[-1])
        return type(self)._of(self.loc.expand(shape), self.log_var.expand(shape))

    @classmethod
    def _of(cls, loc: Tensor, log_var: Tensor) -> Gaussian:
        """The same kind of distribution from other parameters: an expanded standard normal stays one."""
        new = cls.__new__(cls)
        Gaussian.__init__(new, loc, log_var)
        return new


class StandardNormal(Gaussian):
    """N(0, I). The KL to it needs none of its (expanded) parameters.

    Args:
        size: D, the number of dimensions.
        like: a tensor whose dtype and device the distribution takes.
    """

    def __init__(self, size: int, like: Tensor | None = None) -> None:
        zero = torch.zeros(size) if like is None else torch.zeros(size, dtype=like.dtype, device=like.device)
        super().__init__(zero, zero)


def standard_normal(size: int, like: Tensor | None = None) -> StandardNormal:
    """The prior N(0, I).

    Args:
        size: D, the number of dimensions.
        like: a tensor whose dtype and device the distribution takes.

    Returns:
        A Gaussian of event shape (D,).

    Example:
        >>> standard_normal(2).mean
        tensor([0., 0.])
    """
    return StandardNormal(size, like)


def gaussian_head(output: Tensor) -> tuple[Tensor, Tensor]:
    """Read a network's output as the parameters of a Gaussian.

    Args:
        output: (..., 2D).

    Returns:
        Mean and log-variance (clamped to ±12), (..., D) each.

    Example:
        >>> gaussian_head(torch.tensor([0.5, 100.0]))
        (tensor([0.5000]), tensor([12.]))
    """
    loc, log_var = full_precision(output).chunk(2, -1)
    return loc, F.hardtanh(log_var, *LOG_VAR_RANGE)  # clamps, as `clamp` does, but its gradient takes one pass


@register_kl(Gaussian, Gaussian)
def _kl_gaussian_gaussian(q: Gaussian, p: Gaussian) -> Tensor:
    return gaussian_kl(q.loc, q.log_var, p.loc, p.log_var)


@register_kl(Gaussian, StandardNormal)
def _kl_gaussian_standard(q: Gaussian, p: StandardNormal) -> Tensor:
    return gaussian_kl_standard(q.loc, q.log_var)


@register_kl(StandardNormal, StandardNormal)
def _kl_standard_standard(q: StandardNormal, p: StandardNormal) -> Tensor:
    return gaussian_kl_standard(q.loc, q.log_var)
