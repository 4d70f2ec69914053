"""A view of factor analysis whose rows are whole or missing."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .view import FactorView, Loadings, Prior

OFFSET_PRECISION = 1e-2  # of the prior of the offset, where features have variance 1
CONSTANT = 1e-9  # sd over the largest value of a feature, below which it is taken for constant


class Side:
    """q(W, τ, r, α) of one view, whose features are standardised and of which constant ones are left out."""

    def __init__(self, view: FactorView, size: int, prior: Prior) -> None:
        self.rows, self.prior, self.size = view.observed, prior, size
        there, self.count = self._counted(view)
        x = torch.where(there, view.x.double(), 0.0)
        self.centre = x.sum(0) / self.count
        x = torch.where(there, x - self.centre, 0.0)
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

    def _counted(self, view: FactorView) -> tuple[Tensor, Any]:
        """Bool, broadcastable to (n, d), what counts, and how many numbers of each feature that are: one number, or one
        for each feature."""
        return view.observed.unsqueeze(-1), int(view.observed.sum())

    @property
    def numbers(self) -> int:
        """How many numbers of features that vary are observed."""
        return self.count * self.d

    def update(self, mean: Tensor, covariance: Tensor, share: Tensor, of_row: Tensor) -> None:
        """q(W) and q(τ), given q(Z).

        Args:
            mean: (n, D + 1) E z̃.
            covariance: (P, D, D) of z, by pattern of what rows have, or (1, D, D).
            share: (P,) rows of each pattern that have the view.
            of_row: (n,) the pattern of each row.
        """
        size, here = covariance.shape[-1], mean[self.rows]
        moment = here.T @ here
        moment[:size, :size] += torch.einsum("p,pkl->kl", share, covariance)
        self.update_weights(mean, moment)
        self.update_noise()

    def again(self) -> None:
        """q(W) and q(τ) once more, given the same q(Z)."""
        self.update_weights(*self.given)
        self.update_noise()

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

    def _residual(self) -> Tensor:
        """(d,) Σ_i E (x_ij − w_j·z̃_i)²."""
        of_mean = (self.turned.square() * self.values).sum(-1)  # w̄ᵀ S w̄
        of_spread = (self.values * self.shrink).sum(-1)  # tr S cov w
        return self.square - 2 * (self.turned * self.cross).sum(-1) + of_mean + of_spread

    def update_noise(self) -> None:
        """q(τ), q(r)."""
        self.residual = self._residual().clamp_min(0.0) + self.count * self.prior.floor
        if self.known is not None:
            return
        self.tau_shape = self.prior.noise + (self.numbers if self.shared else self.count) / 2
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

    def gain(self) -> Tensor:
        """(D + 1,) the diagonal of Σ_j E τ_j w̄_j w̄_jᵀ: how much is known of each factor from a row, at least."""
        self.of_means = self.turned.T @ (self.tau[:, None] * self.turned)
        return (self.root @ self.of_means * self.root).sum(-1)

    def precision(self) -> Tensor:
        """Σ_j E τ_j w_j w_jᵀ, (D + 1, D + 1), after `gain`."""
        spread = (self.tau[:, None] * self.shrink).sum(0).diag()
        return self.root @ (self.of_means + spread) @ self.root.T

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
        entropy = self.tau_shape - self.tau_rate.log() + _lgamma(self.tau_shape)
        entropy = entropy + (1 - self.tau_shape) * _digamma(self.tau_shape)
        return total + (of_prior + entropy - _gamma_kl(shape + rate_shape, self.rate_rate, rate_shape, rate_rate)).sum()

    def keep(self, kept: Tensor) -> None:
        """Drop all other factors, which takes them for 0."""
        self.size = int(kept.sum())
        columns = torch.cat([kept, kept.new_ones(1)])
        self.alpha, self.gram = self.alpha[columns], self.gram[columns][:, columns]
        self.root = self.root[columns]  # its columns are eigenvectors of what was, and stay as many

    def mean(self) -> Tensor:
        """(d, D + 1) E w_j."""
        return self.turned @ self.root.T

    def spread(self) -> Tensor:
        """(d,) Σ_k var w_jk, and of the offset."""
        return self.shrink @ self.root.square().sum(0)

    def loadings(self, size: int) -> Loadings:
        """In the units of x, with 0 for the weights of dropped factors. A constant feature has the floor as noise."""
        scale = self.sd[self.varies]
        weight = self.centre.new_zeros(len(self.centre), size)
        offset, variance = self.centre.clone(), torch.full_like(self.centre, self.prior.floor)
        bounded = torch.zeros_like(self.varies)
        mean = self.mean()
        weight[self.varies, : self.size] = mean[:, :-1] * scale[:, None]
        offset[self.varies] += mean[:, -1] * scale
        noise = 1 / self.tau
        variance[self.varies] = (noise + self.spread()) * scale.square()
        bounded[self.varies] = noise < 5 * self.prior.floor
        if self.scale is not None:
            variance, bounded = torch.full_like(variance, self.scale**2), torch.zeros_like(bounded)
        return Loadings(weight, offset, variance, bounded)


def _digamma(x: Any) -> Any:
    if isinstance(x, Tensor):
        return torch.digamma(x)
    return float(torch.digamma(torch.tensor(x, dtype=torch.float64)))


def _lgamma(x: Any) -> Any:
    return torch.lgamma(x) if isinstance(x, Tensor) else math.lgamma(x)


def _gamma_kl(shape: float, rate: Tensor, prior_shape: float, prior_rate: float) -> Tensor:
    """KL(Gamma(shape, rate) ‖ Gamma(prior_shape, prior_rate))."""
    constant = (shape - prior_shape) * _digamma(shape) + math.lgamma(prior_shape) - math.lgamma(shape)
    return constant + prior_shape * (rate.log() - math.log(prior_rate)) + shape * (prior_rate / rate - 1)
