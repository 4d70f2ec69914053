"""Mixtures for what a row has seen: of its single experts, or of the products over all its subsets."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import register_kl

from ..base.precision import full_precision
from ..base.random import off_the_ends
from ..kernels.poe import gaussian_product, gaussian_product_kl, gaussian_product_sample
from ..modalities.subsets import all_subsets
from .fan_out import for_each
from .gaussian import Gaussian, StandardNormal
from .laplace import Laplace

Family = Gaussian | Laplace


class Mixture(TorchDistribution):
    """A mixture of components of one family. Each row has its own components, which are all equally likely.

    The batch shape is (..., B) and the event shape (D,). A draw chooses a component for each row, and is reparametrised
    within it.

    Args:
        active: (S, B) bool, the components that a row has; at least one for each row.
        dim: D.
        lead: batch axes in front of the rows.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, active: Tensor, dim: int, lead: tuple[int, ...]) -> None:
        self.active = active
        super().__init__(torch.Size((*lead, active.shape[-1])), torch.Size((dim,)), validate_args=False)

    @property
    def components(self) -> Family:
        """Every component for every row, with batch shape (S, B). Components that are not active are only known to be
        finite.
        """
        raise NotImplementedError

    @property
    def uniforms(self) -> int:
        """How many uniforms a draw takes: one of them chooses the component."""
        return self.event_shape[0] + 1

    @cached_property
    def log_weight(self) -> Tensor:
        """(S, B) ln of the weights; −inf for components that a row does not have."""
        count = self.active.sum(0).to(self.components.mean.dtype)
        return torch.where(self.active, -count.log(), -math.inf)

    def log_prob(self, value: Tensor) -> Tensor:
        """ln of the mixture's density.

        Args:
            value: (..., B, D).

        Returns:
            (..., B) nats.
        """
        of_each = self.components.log_prob(for_each(value, len(self.active)))
        return torch.logsumexp(of_each + self.log_weight, -2)

    @property
    def mean(self) -> Tensor:
        return self._average(self.components.mean).expand(*self.batch_shape, -1)

    @property
    def variance(self) -> Tensor:
        loc = self.components.mean
        spread = self.components.variance + (loc - self._average(loc)).square()
        return self._average(spread).expand(*self.batch_shape, -1)

    def _average(self, of_each: Tensor) -> Tensor:
        """(S, B, D) → (B, D)."""
        return (self.log_weight.exp().unsqueeze(-1) * of_each).sum(0)

    def _component(self, choice: Tensor) -> tuple[Tensor, Tensor]:
        """(..., B) in [0, 1] → an index into (S, B), uniform among the row's own."""
        own = self.active.sum(0)
        rank = torch.minimum((choice * own).floor(), own - 1)  # a uniform may have been rounded to 1
        order = self.active.cumsum(0).reshape(len(self.active), *[1] * (choice.ndim - 1), -1)
        return (order <= rank).sum(0), torch.arange(choice.shape[-1], device=choice.device)


def mixture_of_experts(experts: Family, seen: Tensor, prior: Family) -> MixtureOfExperts:
    """q(z | seen) = 1/n Σ_{m seen} q(z | x_m), where n is how many modalities a row has seen.

    Args:
        experts: the experts, of batch shape (M, B) and event shape (D,).
        seen: (B, M) bool.
        prior: a distribution of the same family, of event shape (D,), for rows that have seen nothing.

    Returns:
        A distribution of batch shape (B,) and event shape (D,).

    Source: Shi et al. 2019, arXiv:1911.03393.

    Example:
        >>> experts = Gaussian(torch.tensor([[[-1.0]], [[1.0]]]), torch.zeros(2, 1, 1))  # two experts, one row
        >>> q = mixture_of_experts(experts, torch.tensor([[True, True]]), Gaussian(torch.zeros(1), torch.zeros(1)))
        >>> q.mean, q.variance
        (tensor([[0.]]), tensor([[2.]]))
    """
    return MixtureOfExperts(experts, seen, prior)


class MixtureOfExperts(Mixture):
    """A mixture with one component for each modality that a row has seen. Rows that have seen none have the prior
    alone.
    """

    def __init__(self, experts: Family, seen: Tensor, prior: Family, lead: tuple[int, ...] = ()) -> None:
        self.arguments = (experts, seen, prior)
        own = seen.mT.unsqueeze(-1)  # (M, B, 1)
        parameters = zip(experts.parameters, prior.parameters)
        filled = [torch.where(own, p, of_prior) for p, of_prior in parameters]  # 0 * NaN is NaN, so none may stay
        nothing = [p.expand(1, *experts.mean.shape[1:]) for p in prior.parameters]
        self._components = _of(experts, [torch.cat(pair) for pair in zip(filled, nothing)])
        super().__init__(torch.cat([seen.mT, ~seen.any(-1).unsqueeze(0)]), experts.event_shape[0], lead)

    @property
    def components(self) -> Family:
        return self._components

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> MixtureOfExperts:
        if tuple(batch_shape) == self.batch_shape:
            return self
        return MixtureOfExperts(*self.arguments, lead=tuple(batch_shape[:-1]))

    def detach(self) -> MixtureOfExperts:
        """Return the same mixture with parameters that no gradient reaches."""
        experts, seen, prior = self.arguments
        parts = (_of(family, [p.detach() for p in family.parameters]) for family in (experts, prior))
        return MixtureOfExperts(next(parts), seen, next(parts), tuple(self.batch_shape[:-1]))

    @property
    def strata(self) -> Tensor:
        """(M, M) bool: the subset of the modalities that each component comes from."""
        return torch.eye(len(self.active) - 1, dtype=torch.bool)

    def stratified(self, draws: int) -> Tensor:
        """Draw equally often from each expert's component; from the prior where the expert is not seen.

        Args:
            draws: how many draws each component gives.

        Returns:
            (draws · M, B, D); draw k of modality m's component is at k · M + m.
        """
        experts = _of(self.components, [p[:-1] for p in self.components.parameters])
        return experts.rsample((draws,)).flatten(0, 1)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        like = self.components.mean
        choice = torch.rand((*sample_shape, *self.batch_shape), dtype=like.dtype, device=like.device)
        return self._chosen(choice).rsample()

    def from_uniform(self, u: Tensor) -> Tensor:
        """Draw by inverting distribution functions.

        Args:
            u: (..., B, D + 1) uniforms, the first of which chooses the component.

        Returns:
            (..., B, D) draws.
        """
        return self._chosen(u[..., 0]).from_uniform(u[..., 1:])

    def _chosen(self, choice: Tensor) -> Family:
        """The components that (..., B) numbers in [0, 1] choose."""
        at = self._component(choice)
        return _of(self.components, [p[at] for p in self.components.parameters])


def _of(family: Family, parameters: list[Tensor]) -> Family:
    """The same kind of distribution with other parameters."""
    return Laplace(*parameters) if isinstance(family, Laplace) else Gaussian(*parameters)


PriorExpert = Literal["full", "always", "never"]


def mixture_of_products(
    loc: Tensor, log_var: Tensor, seen: Tensor, *, prior_expert: PriorExpert = "full"
) -> MixtureOfProducts:
    """q(z | seen) = 1/n Σ_S q_S(z), q_S ∝ Π_{m in S} N(loc_m, e^log_var_m), for the n non-empty subsets S of the seen.

    Args:
        loc: (M, B, D) means of the experts.
        log_var: (M, B, D) log-variances of the experts.
        seen: (B, M) bool.
        prior_expert: whether N(0, I) is one more expert: in the component of all M modalities ("full", as in the code
            of Sutter et al. 2021), in every component ("always"), or in none ("never").

    Returns:
        A distribution of batch shape (B,) and event shape (D,), N(0, I) where nothing is seen.

    Raises:
        ValueError: the shapes disagree.

    Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO".

    Example:
        >>> loc, log_var = torch.zeros(2, 1, 1), torch.zeros(2, 1, 1)  # two experts, one row
        >>> q = mixture_of_products(loc, log_var, torch.tensor([[True, True]]), prior_expert="never")
        >>> q.components.variance.flatten()  # of {1}, {2} and {1, 2}
        tensor([1.0000, 1.0000, 0.5000])
    """
    if loc.ndim != 3 or log_var.shape != loc.shape or seen.shape != (loc.shape[1], loc.shape[0]):
        raise ValueError(
            "mixture_of_products: expected loc (M, B, D), log_var (M, B, D), seen (B, M); got "
            f"{tuple(loc.shape)}, {tuple(log_var.shape)}, {tuple(seen.shape)}. It makes all subsets itself."
        )
    return MixtureOfProducts(full_precision(loc), full_precision(log_var), seen, prior_expert)


class MixtureOfProducts(Mixture):
    """A mixture with one component for every non-empty subset of what a row has seen.

    `kl_divergence` to the standard normal is the mean of the components' KLs, an upper bound.
    """

    def __init__(
        self, loc: Tensor, log_var: Tensor, seen: Tensor, prior_expert: PriorExpert, lead: tuple[int, ...] = ()
    ) -> None:
        rows, dim = loc.shape[1:]
        nothing = loc.new_zeros(1, rows, dim)  # N(0, I) as one more expert
        self.loc, self.log_var = torch.cat([loc, nothing]), torch.cat([log_var, nothing])
        subsets = all_subsets(len(loc), seen.device).unsqueeze(1)  # (S, 1, M)
        active = (seen | ~subsets).all(-1)
        active[0] |= ~seen.any(-1)  # rows that have seen nothing need one component: the prior alone
        members = subsets & seen & active.unsqueeze(-1)
        prior = ~members.any(-1)  # components that are not active need something to multiply
        if prior_expert != "never":
            prior = prior | members.all(-1) if prior_expert == "full" else torch.ones_like(prior)
        self.members = torch.cat([members, prior.unsqueeze(-1)], -1)  # (S, B, M + 1)
        self.arguments = (loc, log_var, seen, prior_expert)
        super().__init__(active, dim, lead)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> MixtureOfProducts:
        if tuple(batch_shape) == self.batch_shape:
            return self
        return MixtureOfProducts(*self.arguments, lead=tuple(batch_shape[:-1]))

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        shape = (*sample_shape, *self.batch_shape)
        kind: dict[str, Any] = dict(dtype=self.loc.dtype, device=self.loc.device)
        return self._draw(torch.rand(shape, **kind), torch.randn((*shape, *self.event_shape), **kind))

    def from_uniform(self, u: Tensor) -> Tensor:
        """Draw by inverting distribution functions.

        Args:
            u: (..., B, D + 1) uniforms, the first of which chooses the component.

        Returns:
            (..., B, D) draws.
        """
        return self._draw(u[..., 0], torch.special.ndtri(off_the_ends(u[..., 1:])))

    def _draw(self, choice: Tensor, noise: Tensor) -> Tensor:
        """Draws for (..., B) choices in [0, 1], which pick the components, and (..., B, D) standard normal noise."""
        chosen = self.members[self._component(choice)]
        return gaussian_product_sample(self.loc, self.log_var, chosen, noise, prior=False)[0]

    @cached_property
    def components(self) -> Gaussian:
        return Gaussian(*gaussian_product(self.loc, self.log_var, self.members, prior=False))

    def log_prob(self, value: Tensor) -> Tensor:
        """ln of the mixture's density.

        The squares are multiplied out, in float64 and about the middle of the means: an array of (..., S, B, D) is
        never made, and means that are far from 0 together lose no digits.

        Args:
            value: (..., B, D).

        Returns:
            (..., B) nats.
        """
        loc, log_var = self.components.loc.double(), self.components.log_var.double()
        middle = torch.einsum("sb,sbd->bd", self.log_weight.exp().double(), loc.detach())
        loc, z, precision = loc - middle, value.double() - middle, torch.exp(-log_var)
        constant = (precision * loc.square() + log_var + math.log(2 * math.pi)).sum(-1)  # (S, B)
        squares = torch.einsum("...bd,sbd->...sb", z.square(), precision)
        cross = torch.einsum("...bd,sbd->...sb", z, precision * loc)
        return torch.logsumexp(cross - 0.5 * (squares + constant) + self.log_weight, -2).to(value.dtype)


@register_kl(MixtureOfProducts, StandardNormal)
def _kl_bound(q: MixtureOfProducts, p: StandardNormal) -> Tensor:
    of_each = gaussian_product_kl(q.loc, q.log_var, q.members, prior=False)
    return (torch.where(q.active, of_each, 0.0).sum(0) / q.active.sum(0)).expand(q.batch_shape)
