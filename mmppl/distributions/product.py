"""Products of Gaussian experts, as the posterior distribution of the latent given what is seen."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.distributions import register_kl

from ..base.precision import full_precision
from ..kernels.gaussian import gaussian_kl_standard
from ..kernels.poe import gaussian_product, gaussian_product_sample
from .gaussian import Gaussian, StandardNormal


def product_of_experts(
    loc: Tensor, log_var: Tensor, seen: Tensor, *, exponents: Tensor | None = None, prior: bool = True
) -> ProductOfExperts:
    """q(z | seen) ∝ N(0, I) Π_{m seen} N(loc_m, e^log_var_m)^t_m.

    Args:
        loc: (M, B, D) means of the experts.
        log_var: (M, B, D) log-variances of the experts.
        seen: (B, M) or (S, B, M) bool.
        exponents: (M,) tempering powers t_m ≥ 0. None: ones.
        prior: whether N(0, I) is one of the experts; False leaves it out wherever anything is seen.

    Returns:
        A Gaussian of batch shape (B,) or (S, B); exactly the prior where nothing is seen.

    Example:
        >>> loc = torch.tensor([[[3.0]], [[3.0]]])  # two experts, one row, one dimension
        >>> q = product_of_experts(loc, torch.zeros(2, 1, 1), torch.tensor([[True, True]]))
        >>> q.mean, q.variance
        (tensor([[2.]]), tensor([[0.3333]]))
    """
    loc, log_var = full_precision(loc), full_precision(log_var)
    if not prior:  # the kernel only multiplies experts, so N(0, I) becomes one where no other is seen
        nothing = loc.new_zeros(1, *loc.shape[1:])
        loc, log_var = torch.cat([loc, nothing]), torch.cat([log_var, nothing])
        seen = torch.cat([seen, ~seen.any(-1, keepdim=True)], -1)
        exponents = None if exponents is None else torch.cat([exponents, exponents.new_ones(1)])
    return ProductOfExperts(loc, log_var, seen, exponents, prior)


class ProductOfExperts(Gaussian):
    """A product of experts, with or without the prior, that keeps its experts.

    One kernel makes a draw together with its KL to the prior. The means and log-variances of all subsets are computed
    only where they are asked for.
    """

    def __init__(
        self, loc: Tensor, log_var: Tensor, seen: Tensor, exponents: Tensor | None = None, prior: bool = True
    ) -> None:
        self.experts = (loc, log_var, seen)
        self.options: dict[str, Any] = dict(exponents=exponents, prior=prior)
        self.kl_to_prior: Tensor | None = None
        """(..., B) nats, once a draw has been made."""
        super(Gaussian, self).__init__(seen.shape[:-1], loc.shape[-1:], validate_args=False)

    @cached_property
    def _product(self) -> tuple[Tensor, Tensor]:
        return gaussian_product(*self.experts, **self.options)

    @property
    def loc(self) -> Tensor:
        return self._product[0]

    @property
    def log_var(self) -> Tensor:
        return self._product[1]

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        if sample_shape:
            return super().rsample(sample_shape)
        loc, log_var, seen = self.experts
        noise = torch.randn((*self.batch_shape, *self.event_shape), dtype=loc.dtype, device=loc.device)
        draw, self.kl_to_prior = gaussian_product_sample(loc, log_var, seen, noise, **self.options)
        return draw

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Gaussian:
        if tuple(batch_shape) == self.batch_shape:  # as Pyro's plates ask
            return self
        return Gaussian(self.loc, self.log_var).expand(batch_shape)


@register_kl(ProductOfExperts, StandardNormal)
def _kl_to_prior(q: ProductOfExperts, p: StandardNormal) -> Tensor:
    return gaussian_kl_standard(q.loc, q.log_var) if q.kl_to_prior is None else q.kl_to_prior
