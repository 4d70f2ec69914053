"""Fusion: experts and what is seen → the posterior distribution of the latent."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.distributions import register_kl

from ..kernels.gaussian import gaussian_kl_standard
from ..kernels.poe import gaussian_product, gaussian_product_sample
from .gaussian import Gaussian, StandardNormal, full_precision


def product_of_experts(
    loc: Tensor, log_var: Tensor, seen: Tensor, *, exponents: Tensor | None = None, prior: bool = True
) -> ProductOfExperts:
    """q(z | seen) ∝ N(0, I) Π_{m seen} N(loc_m, e^log_var_m)^t_m.

    Args:
        loc, log_var: (M, B, D).
        seen: (B, M) or (S, B, M) bool.
        exponents: (M,) tempering powers t_m ≥ 0; None: ones.
        prior: False leaves N(0, I) out wherever anything is seen.
    Returns: Gaussian of batch shape (B,) or (S, B); exactly the prior where nothing is seen.
    """
    loc, log_var = full_precision(loc), full_precision(log_var)
    if not prior:  # the kernel multiplies experts only: N(0, I) is one more of them, where there is no other
        nothing = loc.new_zeros(1, *loc.shape[1:])
        loc, log_var = torch.cat([loc, nothing]), torch.cat([log_var, nothing])
        seen = torch.cat([seen, ~seen.any(-1, keepdim=True)], -1)
        exponents = None if exponents is None else torch.cat([exponents, exponents.new_ones(1)])
    return ProductOfExperts(loc, log_var, seen, exponents, prior)


class ProductOfExperts(Gaussian):
    """A product of experts, with or without the prior, by its experts: one draw and its KL to the prior come from one
    kernel, and the means and log-variances of all subsets are formed only for who asks for them."""

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


def barycentre(loc: Tensor, log_var: Tensor, seen: Tensor, *, weights: Tensor | None = None) -> Barycentre:
    """The Gaussian with the least weighted sum of W2² to the seen experts: mean of their means, mean of their sds.

    Args:
        loc, log_var: (M, B, D).
        seen: (B, M) or (S, B, M) bool.
        weights: (M,) positive; over what is seen they are brought to sum 1. None: equal.
    Returns: Gaussian of batch shape (B,) or (S, B): the expert itself where one is seen, N(0, I) where none is. In
        float32 log-variances may lie within ±170, where sds neither vanish nor overflow.
    Source: Agueh & Carlier 2011, SIAM J. Math. Anal. 43 (2), for covariances that commute.
    """
    return Barycentre(full_precision(loc), full_precision(log_var), seen, weights)


class Barycentre(Gaussian):
    """A W2 barycentre that knows its experts: loc (M, B, D), log_var (M, B, D) and what was seen of them."""

    def __init__(self, loc: Tensor, log_var: Tensor, seen: Tensor, weights: Tensor | None = None) -> None:
        self.experts = (loc, log_var, seen)
        own = seen.movedim(-1, 0).unsqueeze(-1)  # (M, ..., B, 1)
        lead = tuple(range(1, own.ndim - 2))
        anywhere = own.any(lead) if lead else own
        loc, log_var = (torch.where(anywhere, t, 0.0) for t in (loc, log_var))  # 0 * NaN is NaN, in gradients, too
        parts = torch.cat([loc, torch.exp(0.5 * log_var), log_var], -1)
        parts = torch.where(own, parts.reshape(len(loc), *[1] * len(lead), *parts.shape[1:]), 0.0)
        count, something = own.sum(0), own.any(0)
        if weights is None:
            parts = parts.sum(0) / count.clamp_min(1)
        else:
            shares = weights.reshape(-1, *[1] * (own.ndim - 1)) * own
            parts = (parts * (shares / torch.where(something, shares.sum(0), 1.0))).sum(0)
        mean, sd, of_one = parts.chunk(3, -1)
        log_var = torch.where(count > 1, 2 * torch.where(something, sd, 1.0).log(), of_one)  # one: to the last bit
        super().__init__(mean, log_var)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> Gaussian:
        if tuple(batch_shape) == self.batch_shape:  # as Pyro's plates ask
            return self
        return Gaussian(self.loc, self.log_var).expand(batch_shape)
