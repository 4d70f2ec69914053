"""Mixtures of products of experts: one component for every non-empty subset of what a row has seen."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import register_kl

from .batch import all_subsets
from .gaussian import StandardNormal, full_precision
from .kernels.poe import gaussian_product, gaussian_product_kl, gaussian_product_sample

PriorExpert = Literal["full", "always", "never"]


def mixture_of_products(
    loc: Tensor, log_var: Tensor, seen: Tensor, *, prior_expert: PriorExpert = "full"
) -> MixtureOfProducts:
    """q(z | seen) = 1/n Σ_S q_S(z), q_S ∝ Π_{m in S} N(loc_m, e^log_var_m), for the n non-empty subsets S of the seen.

    Args:
        loc, log_var: (M, B, D).
        seen: (B, M) bool.
        prior_expert: whether N(0, I) is one more expert: in the component of all that is seen ("full", as in the code
            of Sutter et al. 2021), in every component, or in none. Where nothing is seen, the answer is N(0, I).
    Raises: ValueError: if the shapes disagree.
    Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO".
    """
    if loc.ndim != 3 or log_var.shape != loc.shape or seen.shape != (loc.shape[1], loc.shape[0]):
        raise ValueError(
            "mixture_of_products: expected loc (M, B, D), log_var (M, B, D), seen (B, M); got "
            f"{tuple(loc.shape)}, {tuple(log_var.shape)}, {tuple(seen.shape)}. It makes all subsets itself."
        )
    return MixtureOfProducts(full_precision(loc), full_precision(log_var), seen, prior_expert)


class MixtureOfProducts(TorchDistribution):
    """Batch shape (..., B), event shape (D,). Draws choose a component per row, uniformly among the row's own; within
    it they are reparametrised. `kl_divergence` to the standard normal is the mean over the components, an upper bound.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc: Tensor, log_var: Tensor, seen: Tensor, prior_expert: PriorExpert, lead: tuple[int, ...] = ()
    ) -> None:
        rows, dim = loc.shape[1:]
        nothing = loc.new_zeros(1, rows, dim)  # N(0, I) as one more expert
        self.loc, self.log_var = torch.cat([loc, nothing]), torch.cat([log_var, nothing])
        subsets = all_subsets(len(loc), seen.device).unsqueeze(1)  # (S, 1, M)
        self.active = (seen | ~subsets).all(-1)
        self.active[0] |= ~seen.any(-1)  # a component has to be there: the prior alone
        members = subsets & seen & self.active.unsqueeze(-1)
        prior = ~members.any(-1)  # rows that are not active need something to multiply
        if prior_expert != "never":
            prior = prior | (members == seen).all(-1) if prior_expert == "full" else torch.ones_like(prior)
        self.members = torch.cat([members, prior.unsqueeze(-1)], -1)  # (S, B, M + 1)
        self.arguments = (loc, log_var, seen, prior_expert)
        super().__init__(torch.Size((*lead, rows)), torch.Size((dim,)), validate_args=False)

    @property
    def uniforms(self) -> int:
        """How many uniforms a draw takes: one chooses the component."""
        return self.event_shape[0] + 1

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> MixtureOfProducts:
        if tuple(batch_shape) == self.batch_shape:
            return self
        return MixtureOfProducts(*self.arguments, lead=tuple(batch_shape[:-1]))

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        shape = (*sample_shape, *self.batch_shape)
        kind: dict[str, Any] = dict(dtype=self.loc.dtype, device=self.loc.device)
        return self._draw(torch.rand(shape, **kind), torch.randn((*shape, *self.event_shape), **kind))

    def from_uniform(self, u: Tensor) -> Tensor:
        """(..., B, D + 1) uniforms → draws (..., B, D)."""
        eps = torch.finfo(u.dtype).eps
        return self._draw(u[..., 0], torch.special.ndtri(u[..., 1:].clamp(eps / 2, 1 - eps / 2)))

    def _draw(self, choice: Tensor, noise: Tensor) -> Tensor:
        """choice (..., B) in [0, 1) picks the component, noise (..., B, D) is standard normal."""
        count = self.active.sum(0)
        rank = (choice * count).floor().minimum(count - 1.0)  # a uniform may round to 1
        order = self.active.cumsum(0).reshape(len(self.active), *[1] * (choice.ndim - 1), -1)
        component = (order <= rank).sum(0)
        chosen = self.members[component, torch.arange(choice.shape[-1], device=choice.device)]
        return gaussian_product_sample(self.loc, self.log_var, chosen, noise, prior=False)[0]

    @cached_property
    def components(self) -> tuple[Tensor, Tensor, Tensor]:
        """Means and log-variances (S, B, D), and ln of the weights (S, B), −inf for what is no subset of a row's."""
        loc, log_var = gaussian_product(self.loc, self.log_var, self.members, prior=False)
        log_weight = torch.where(self.active, -self.active.sum(0).to(loc.dtype).log(), -math.inf)
        return loc, log_var, log_weight

    def log_prob(self, value: Tensor) -> Tensor:
        """ln of the mixture's density, nats.

        The squares are multiplied out, in float64: no (..., S, B, D) numbers are held.
        """
        loc, log_var, log_weight = (t.double() for t in self.components)
        z, precision = value.double(), torch.exp(-log_var)
        constant = (precision * loc.square() + log_var + math.log(2 * math.pi)).sum(-1)  # (S, B)
        squares = torch.einsum("...bd,sbd->...sb", z.square(), precision)
        cross = torch.einsum("...bd,sbd->...sb", z, precision * loc)
        return torch.logsumexp(cross - 0.5 * (squares + constant) + log_weight, -2).to(value.dtype)

    @property
    def width(self) -> int:
        """Numbers per draw and row that the density takes."""
        return len(self.active)

    @property
    def mean(self) -> Tensor:
        loc, _, log_weight = self.components
        return (log_weight.exp().unsqueeze(-1) * loc).sum(0).expand(*self.batch_shape, -1)

    @property
    def variance(self) -> Tensor:
        loc, log_var, log_weight = self.components
        spread = log_var.exp() + (loc - self.mean[(0,) * (len(self.batch_shape) - 1)]).square()
        return (log_weight.exp().unsqueeze(-1) * spread).sum(0).expand(*self.batch_shape, -1)


@register_kl(MixtureOfProducts, StandardNormal)
def _kl_bound(q: MixtureOfProducts, p: StandardNormal) -> Tensor:
    of_each = gaussian_product_kl(q.loc, q.log_var, q.members, prior=False)
    return (torch.where(q.active, of_each, 0.0).sum(0) / q.active.sum(0)).expand(q.batch_shape)
