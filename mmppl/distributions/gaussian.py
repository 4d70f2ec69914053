"""The latents' distribution: a diagonal Gaussian by mean and log-variance, as a Pyro distribution."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import register_kl

from ..base.precision import full_precision
from ..kernels.gaussian import gaussian_kl, gaussian_kl_standard, gaussian_log_density

LOG_VAR_RANGE = (-12.0, 12.0)


class Gaussian(TorchDistribution):
    """N(loc, diag e^log_var) over vectors: batch shape (..., B), event shape (D,).

    Pyro's Normal takes a scale; from the log-variance KL and density need no logarithm and never divide by zero.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, log_var: Tensor) -> None:
        self.loc, self.log_var = torch.broadcast_tensors(full_precision(loc), full_precision(log_var))
        super().__init__(self.loc.shape[:-1], self.loc.shape[-1:], validate_args=False)

    @property
    def parameters(self) -> tuple[Tensor, Tensor]:
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
        """(..., B, D) uniforms → draws of that shape, by the inverse distribution function."""
        eps = torch.finfo(u.dtype).eps
        return self.loc + torch.exp(0.5 * self.log_var) * torch.special.ndtri(u.clamp(eps / 2, 1 - eps / 2))

    def log_prob(self, value: Tensor) -> Tensor:
        return gaussian_log_density(value, self.loc, self.log_var)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Gaussian:
        shape = (*batch_shape, self.loc.shape[-1])
        return type(self)._of(self.loc.expand(shape), self.log_var.expand(shape))

    @classmethod
    def _of(cls, loc: Tensor, log_var: Tensor) -> Gaussian:
        """The same kind from parameters (expansion keeps a standard normal recognisable)."""
        new = cls.__new__(cls)
        Gaussian.__init__(new, loc, log_var)
        return new


class StandardNormal(Gaussian):
    """N(0, I_D); the KL to it needs none of its (expanded) parameters."""

    def __init__(self, size: int, like: Tensor | None = None) -> None:
        zero = torch.zeros(size) if like is None else torch.zeros(size, dtype=like.dtype, device=like.device)
        super().__init__(zero, zero)


def standard_normal(size: int, like: Tensor | None = None) -> StandardNormal:
    """The prior N(0, I) over `size` dimensions, with the dtype and device of `like`."""
    return StandardNormal(size, like)


def gaussian_head(output: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 2D) network output → mean and log-variance (clamped to ±12), (..., D) each."""
    loc, log_var = full_precision(output).chunk(2, -1)
    return loc, F.hardtanh(log_var, *LOG_VAR_RANGE)  # clamp, but for a gradient in one pass


@register_kl(Gaussian, Gaussian)
def _kl_gaussian_gaussian(q: Gaussian, p: Gaussian) -> Tensor:
    return gaussian_kl(q.loc, q.log_var, p.loc, p.log_var)


@register_kl(Gaussian, StandardNormal)
def _kl_gaussian_standard(q: Gaussian, p: StandardNormal) -> Tensor:
    return gaussian_kl_standard(q.loc, q.log_var)


@register_kl(StandardNormal, StandardNormal)
def _kl_standard_standard(q: StandardNormal, p: StandardNormal) -> Tensor:
    return gaussian_kl_standard(q.loc, q.log_var)
