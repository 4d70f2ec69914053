"""Variational Bayes for group factor analysis: closed-form updates over all rows, in float64.

Model, for row i, view m and feature j, with z̃_i = (z_i, 1):

    z_i ~ N(0, I),   x_ij = w_j·z̃_i + N(0, 1/τ_j),   w_jk ~ N(0, 1/α_mk).

The precision α_mk of view m and factor k switches off a factor that the view does not use (automatic relevance
determination), so a factor is shared or private as the data say; one that no view uses is dropped. q(Z) q(W) q(τ) q(r)
q(α) are updated in turn, each at its optimum given the others, and the factors are rotated to where the bound is
highest (`rotation`).

Source: Virtanen, Klami, Khan & Kaski 2012, "Bayesian group factor analysis" (AISTATS), with the rotation of Virtanen,
Klami & Kaski 2011, "Bayesian CCA via group sparsity" (ICML). Differs: the noise is one per feature (or per view); any
view may be missing from a row; the offset is the last column of W; the prior of the noise has heavy tails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError
from .rotation import Loaded, best_rotation

OFFSET_PRECISION = 1e-2  # of the prior of the offset, where features have variance 1
CONSTANT = 1e-9  # sd over the largest value of a feature, below which it is taken for constant
LEAST = 0.01  # precision Σ τ_j w_jk² that a factor has to add to the prior's 1, or it is dropped


@dataclass(frozen=True)
class Prior:
    """Hyper-priors, for features of variance 1.

    The noise has τ_j ~ Gamma(noise, r_j) and r_j ~ Gamma(shape, rate) in terms of (shape, rate). Near variance ½ it
    weighs as much as 2 · noise rows, which keeps few rows from being explained without noise; its tails are heavy
    (p(τ) falls as a power), so it gives way where a feature really is precise.

    Args:
        noise: shape of τ_j.
        noise_rate: shape and rate of r_j.
        relevance: shape and rate of α_mk.
        floor: variance that is added to the noise of every feature, which bounds it where a column is a copy.
    """

    noise: float = 4.0
    noise_rate: tuple[float, float] = (8.0, 4.0)
    relevance: tuple[float, float] = (1e-3, 1e-3)
    floor: float = 1e-6


@dataclass(frozen=True)
class FactorView:
    """What is known of one view in n rows.

    Args:
        x: (n, d); what stands in rows that are not observed does not matter.
        observed: (n,) bool.
        scale: the standard deviation of the noise, where it is known.
        shared: whether the noise is one number for all features.

    Example:
        >>> view = FactorView(torch.zeros(3, 2), torch.tensor([True, True, False]))
        >>> view.scale is None, view.shared
        (True, False)
    """

    x: Tensor
    observed: Tensor
    scale: float | None = None
    shared: bool = False


@dataclass(frozen=True)
class Loadings:
    """A view as it comes from factors: x = weight z + offset + N(0, diag variance), in the units of x.

    Args:
        weight: (d, D) posterior mean; 0 for features that are constant.
        offset: (d,) posterior mean.
        variance: (d,): of the noise, and of what is not known of weight and offset, at an average z.
        bounded: (d,) bool, where little more than the floor is left of the noise of a feature that varies.
    """

    weight: Tensor
    offset: Tensor
    variance: Tensor
    bounded: Tensor


@dataclass(frozen=True)
class FactorFit:
    """What `fit_factors` finds.

    Args:
        loadings: name → loadings.
        relevance: name → E α_mk of the factors that were not dropped.
        bounds: the bound after each pass, in nats of all rows, for features of variance 1.
        converged: whether the last pass raised it by less than the tolerance.

    Example:
        >>> x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
        >>> found = fit_factors({"x": FactorView(x, torch.ones(50, dtype=torch.bool))}, 2)
        >>> found.loadings["x"].weight.shape, len(found.bounds) > 1
        (torch.Size([3, 2]), True)
    """

    loadings: dict[str, Loadings]
    relevance: dict[str, Tensor]
    bounds: list[float]
    converged: bool


class _Side:
    """q(W, τ, r, α) of one view, whose features are standardised and of which constant ones are left out."""

    def __init__(self, view: FactorView, size: int, prior: Prior) -> None:
        self.rows, self.prior, self.size, self.count = view.observed, prior, size, int(view.observed.sum())
        x = torch.where(view.observed.unsqueeze(-1), view.x.double(), 0.0)
        self.centre = x.sum(0) / self.count
        x = torch.where(view.observed.unsqueeze(-1), x - self.centre, 0.0)
        sd = (x.square().sum(0) / self.count).sqrt()
        self.varies = sd > CONSTANT * (1 + self.centre.abs())
        self.sd = torch.where(self.varies, sd, 1.0)
        self.x = x[:, self.varies] / self.sd[self.varies]
        self.d = self.x.shape[1]
        self.square = self.x.square().sum(0)
        self.shared = view.shared
        self.known = None if view.scale is None else (view.scale / self.sd[self.varies]) ** 2
        self.scale = view.scale
        self.alpha = torch.ones(size + 1, dtype=torch.float64, device=x.device)
        self.alpha[-1] = OFFSET_PRECISION
        self.tau = torch.ones_like(self.square) if self.known is None else 1 / self.known
        self.rate_rate = torch.full_like(self.square[:1] if view.shared else self.square, prior.noise_rate[1] + 1.0)

    def update_weights(self, mean: Tensor, moment: Tensor) -> None:
        """q(W), given E z̃ (n, D + 1) and Σ E z̃ z̃ᵀ over the observed rows.

        (A + τ_j S)^-1 = R diag(1 / (1 + τ_j λ)) Rᵀ, where λ and A^½ R are the eigenvalues and vectors of A^-½ S A^-½:
        one decomposition for all features. Below, W stays in terms of these vectors, E W = turned Rᵀ, and nothing is
        multiplied out that has a row for each feature.
        """
        self.given = mean, moment
        root = self.alpha.rsqrt()
        values, vectors = torch.linalg.eigh(root[:, None] * moment * root)
        self.values, self.root = values.clamp_min(0.0), root[:, None] * vectors
        self.cross = self.x.T @ (mean @ self.root)  # (d, D + 1)
        self.shrink = 1 / (1 + self.tau[:, None] * self.values)
        self.turned = self.tau[:, None] * self.cross * self.shrink
        self.log_det = self.shrink.log().sum() - self.d * self.alpha.log().sum()  # Σ_j ln |cov w_j|
        self.gram = self.root @ (self.turned.T @ self.turned + self.shrink.sum(0).diag()) @ self.root.T  # Σ E w_j w_jᵀ

    def update_noise(self) -> None:
        """q(τ), q(r)."""
        of_mean = (self.turned.square() * self.values).sum(-1)  # w̄ᵀ S w̄
        of_spread = (self.values * self.shrink).sum(-1)  # tr S cov w
        residual = self.square - 2 * (self.turned * self.cross).sum(-1) + of_mean + of_spread
        self.residual = residual.clamp_min(0.0) + self.count * self.prior.floor
        if self.known is not None:
            return
        self.tau_shape = self.prior.noise + self.count * (self.d if self.shared else 1) / 2
        residual = self.residual.sum().reshape(1) if self.shared else self.residual
        self.tau_rate = (self.prior.noise + self.prior.noise_rate[0]) / self.rate_rate + residual / 2
        tau = self.tau_shape / self.tau_rate
        self.rate_rate = self.prior.noise_rate[1] + tau
        self.tau = tau.expand(self.d)

    def update_relevance(self, gram: Tensor) -> None:
        """q(α), given Σ_j E w_j w_jᵀ (D, D)."""
        shape, rate = self.prior.relevance
        self.alpha_shape, self.alpha_rate = shape + self.d / 2, rate + gram.diagonal() / 2
        self.alpha = torch.cat([self.alpha_shape / self.alpha_rate, self.alpha[-1:]])

    def precision(self) -> tuple[Tensor, Tensor]:
        """Σ_j E τ_j w_j w_jᵀ, (D + 1, D + 1), and the share of E w_j in its diagonal."""
        of_means = self.turned.T @ (self.tau[:, None] * self.turned)
        spread = (self.tau[:, None] * self.shrink).sum(0).diag()
        return self.root @ (of_means + spread) @ self.root.T, (self.root @ of_means * self.root).sum(-1)

    def shift(self) -> Tensor:
        """Σ_j τ_j E w_j x_ij, (n, D)."""
        return (self.x @ (self.tau[:, None] * self.turned)) @ self.root[:-1].T

    def bound(self) -> Tensor:
        """E ln p(x, W, τ, r, α | z) − E ln q(W, τ, r, α)."""
        log_tau = self.tau.log() if self.known is not None else _digamma(self.tau_shape) - self.tau_rate.log()
        total = (self.count / 2 * (log_tau - math.log(2 * math.pi)) - self.tau * self.residual / 2).sum()
        log_alpha = _digamma(self.alpha_shape) - self.alpha_rate.log()
        total = total + self.d / 2 * (log_alpha.sum() + math.log(OFFSET_PRECISION))
        total = total - (self.alpha * self.gram.diagonal()).sum() / 2 + self.log_det / 2 + self.d * (self.size + 1) / 2
        total = total - _gamma_kl(self.alpha_shape, self.alpha_rate, *self.prior.relevance).sum()
        if self.known is not None:
            return total
        shape, (rate_shape, rate_rate) = self.prior.noise, self.prior.noise_rate
        log_rate = _digamma(shape + rate_shape) - self.rate_rate.log()
        expected = (shape + rate_shape) / self.rate_rate * self.tau_shape / self.tau_rate
        of_prior = shape * log_rate - math.lgamma(shape) + (shape - 1) * log_tau - expected
        entropy = self.tau_shape - self.tau_rate.log() + math.lgamma(self.tau_shape)
        entropy = entropy + (1 - self.tau_shape) * _digamma(self.tau_shape)
        return total + (of_prior + entropy - _gamma_kl(shape + rate_shape, self.rate_rate, rate_shape, rate_rate)).sum()

    def keep(self, kept: Tensor) -> None:
        """Drop all other factors, which takes them for 0."""
        self.size = int(kept.sum())
        columns = torch.cat([kept, kept.new_ones(1)])
        self.alpha, self.gram = self.alpha[columns], self.gram[columns][:, columns]
        self.root = self.root[columns]  # its columns are eigenvectors of what was, and stay as many

    def loadings(self, size: int) -> Loadings:
        """In the units of x, with 0 for the weights of dropped factors. A constant feature has the floor as noise."""
        scale = self.sd[self.varies]
        weight = self.centre.new_zeros(len(self.centre), size)
        offset, variance = self.centre.clone(), torch.full_like(self.centre, self.prior.floor)
        bounded = torch.zeros_like(self.varies)
        mean = self.turned @ self.root.T
        weight[self.varies, : self.size] = mean[:, :-1] * scale[:, None]
        offset[self.varies] += mean[:, -1] * scale
        noise = 1 / self.tau
        spread = self.shrink @ self.root.square().sum(0)  # Σ_k var w_jk, and of the offset
        variance[self.varies] = (noise + spread) * scale.square()
        bounded[self.varies] = noise < 5 * self.prior.floor
        if self.scale is not None:
            variance, bounded = torch.full_like(variance, self.scale**2), torch.zeros_like(bounded)
        return Loadings(weight, offset, variance, bounded)


def _digamma(x: float) -> float:
    return float(torch.digamma(torch.tensor(x, dtype=torch.float64)))


def _gamma_kl(shape: float, rate: Tensor, prior_shape: float, prior_rate: float) -> Tensor:
    """KL(Gamma(shape, rate) ‖ Gamma(prior_shape, prior_rate))."""
    constant = (shape - prior_shape) * _digamma(shape) + math.lgamma(prior_shape) - math.lgamma(shape)
    return constant + prior_shape * (rate.log() - math.log(prior_rate)) + shape * (prior_rate / rate - 1)


def fit_factors(
    views: Mapping[str, FactorView], size: int, *, prior: Prior = Prior(), tolerance: float = 1e-6, most: int = 1000
) -> FactorFit:
    """Fit group factor analysis by variational Bayes; the same rows give the same bits.

    A pass costs O(n d D + d D² + P D³) for n rows of d features with P patterns of missing views: no d × d matrix is
    formed.

    Args:
        views: name → view of n rows.
        size: D, the most factors; those that no view needs get weights of nearly 0.
        prior: hyper-priors.
        tolerance: it stops when a pass raises the bound by less than this, in nats per observed number.
        most: passes, at most.

    Returns:
        What was found.

    Raises:
        DataError: there are fewer than two rows.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> z = torch.randn(200, 1, generator=rng)
        >>> x = {name: z + 0.1 * torch.randn(200, 3, generator=rng) for name in "ab"}
        >>> found = fit_factors({n: FactorView(v, torch.ones(200, dtype=torch.bool)) for n, v in x.items()}, 2)
        >>> found.converged, (found.loadings["a"].weight.norm(dim=0) > 0.1).sum().item()
        (True, 1)
    """
    sides = [_Side(view, size, prior) for view in views.values()]
    observed = torch.stack([side.rows for side in sides], -1)
    rows = len(observed)
    if rows < 2:
        raise DataError(f"factor analysis needs two rows to learn from and has {rows}; give more training rows.")
    kinds, of_row = torch.unique(observed, dim=0, return_inverse=True)
    at = [(of_row == kind).nonzero().squeeze(-1) for kind in range(len(kinds))]
    counts = torch.tensor([len(places) for places in at], dtype=torch.float64, device=kinds.device)
    share = kinds.double() * counts.unsqueeze(-1)  # rows that have a view
    mean, covariance = _start(sides, size)
    bounds: list[float] = []
    enough = tolerance * max(1, sum(side.count * side.d for side in sides))
    converged = False
    _update_views(sides, mean, covariance, share)
    for side in sides:  # W did not know the noise yet
        side.update_weights(*side.given)
        side.update_noise()
    while not converged and len(bounds) < most:
        precisions = _needed(sides)
        left = sides[0].size
        eye = torch.eye(left, dtype=torch.float64, device=kinds.device)
        shown = torch.einsum("pm,mkl->pkl", kinds.double(), precisions)
        factor = torch.linalg.cholesky(eye + shown[:, :left, :left])
        covariance = torch.cholesky_inverse(factor)
        log_det = -2 * (counts * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)).sum()
        shift = torch.stack([side.shift() for side in sides]).sum(0)
        mean = torch.empty_like(shift)
        for kind, places in enumerate(at):
            mean[places] = (shift[places] - shown[kind, :left, left]) @ covariance[kind]
        moments = mean.T @ mean + torch.einsum("p,pkl->kl", counts, covariance)
        turn = best_rotation(
            moments, rows, [Loaded(side.d, side.gram[:left, :left], *prior.relevance) for side in sides]
        )
        back = torch.linalg.inv(turn)
        mean, covariance, moments = mean @ back.T, back @ covariance @ back.T, back @ moments @ back.T
        log_det = log_det - 2 * rows * torch.linalg.slogdet(turn).logabsdet
        for side in sides:
            side.update_relevance(turn.T @ side.gram[:left, :left] @ turn)
        _update_views(sides, mean, covariance, share)
        of_rows = log_det / 2 - moments.diagonal().sum() / 2 + rows * left / 2
        bounds.append(float(of_rows + sum(side.bound() for side in sides)))
        converged = len(bounds) > 1 and bounds[-1] - bounds[-2] < enough
    loadings = {name: side.loadings(size) for name, side in zip(views, sides)}
    return FactorFit(loadings, {n: side.alpha[:-1] for n, side in zip(views, sides)}, bounds, converged)


def _update_views(sides: Sequence[_Side], mean: Tensor, covariance: Tensor, share: Tensor) -> None:
    """q(W) and the noise of every view, given E z (n, D) and its covariance by pattern (P, D, D)."""
    size = mean.shape[1]
    padded = torch.cat([mean, mean.new_ones(len(mean), 1)], -1)
    for m, side in enumerate(sides):
        here = padded[side.rows]
        moment = here.T @ here
        moment[:size, :size] += torch.einsum("p,pkl->kl", share[:, m], covariance)
        side.update_weights(padded, moment)
        side.update_noise()


def _needed(sides: Sequence[_Side]) -> Tensor:
    """(M, D + 1, D + 1) precisions that the views add to z, without the factors to which all add next to nothing."""
    found = [side.precision() for side in sides]
    gain = torch.stack([certain for _, certain in found]).sum(0)[:-1]
    needed = gain >= min(LEAST, float(gain.max()))
    if not needed.all():
        for side in sides:
            side.keep(needed)
    columns = torch.cat([needed, needed.new_ones(1)])
    return torch.stack([precision[columns][:, columns] for precision, _ in found])


def _start(sides: Sequence[_Side], size: int) -> tuple[Tensor, Tensor]:
    """E z (n, D), the principal components of all features, those that are missing being at their mean; and its
    covariance (1, D, D)."""
    x = torch.cat([side.x for side in sides], -1)
    if len(x) <= x.shape[1]:
        left = torch.linalg.eigh(x @ x.T).eigenvectors.flip(-1)[:, :size]
    else:
        left = x @ torch.linalg.eigh(x.T @ x).eigenvectors.flip(-1)[:, :size]
        left = left / left.norm(dim=0).clamp_min(1e-12)
    left = left * left.gather(0, left.abs().argmax(0, keepdim=True)).sign()  # whatever the sign of an eigenvector
    left = torch.cat([left, left.new_zeros(len(left), size - left.shape[1])], -1)
    return 0.95 * math.sqrt(len(x)) * left, 0.1 * torch.eye(size, dtype=x.dtype, device=x.device).unsqueeze(0)
