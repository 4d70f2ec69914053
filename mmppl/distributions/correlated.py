"""Gaussians with a full covariance, and the posterior of a linear-Gaussian model given any part of what it explains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import register_kl

from ..base.random import off_the_ends
from .gaussian import Gaussian, StandardNormal

ROOM = 2**24  # numbers of one batch of weighted loadings


class CorrelatedGaussian(TorchDistribution):
    """N(loc, (C Cᵀ)^-1) over vectors, with batch shape (..., B) and event shape (D,); it computes in float64.

    Rows may share their covariance: row b has the Cholesky factor C of its precision at `of_row[b]`. So B rows with P
    patterns of missingness cost P factorisations.

    Args:
        loc: (..., B, D) means.
        factor: (P, D, D) lower-triangular Cholesky factors of precisions.
        of_row: (..., B) integers below P.
        dtype: of draws and densities; None: that of `loc`.

    Example:
        >>> precision = torch.tensor([[[2.0, 1.0], [1.0, 2.0]]])
        >>> factor = torch.linalg.cholesky(precision)
        >>> q = CorrelatedGaussian(torch.zeros(3, 2), factor, torch.zeros(3, dtype=torch.long))
        >>> q.batch_shape, q.variance[0]
        (torch.Size([3]), tensor([0.6667, 0.6667]))
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, factor: Tensor, of_row: Tensor, dtype: torch.dtype | None = None) -> None:
        self.dtype = loc.dtype if dtype is None else dtype
        self.centre, self.factor, self.of_row = loc.double(), factor.double(), of_row
        self.uniforms = loc.shape[-1]  # a draw mixes them: no uniform belongs to one element
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @cached_property
    def inverse(self) -> Tensor:
        """(P, D, D) inverses of the factors."""
        eye = torch.eye(self.factor.shape[-1], dtype=self.factor.dtype, device=self.factor.device)
        return torch.linalg.solve_triangular(self.factor, eye.expand_as(self.factor), upper=False)

    @property
    def loc(self) -> Tensor:
        """(..., B, D) means."""
        return self.centre.to(self.dtype)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self._variances[self.of_row].to(self.dtype)

    @property
    def _variances(self) -> Tensor:
        return self.inverse.square().sum(-2)

    @property
    def covariance(self) -> Tensor:
        """(..., B, D, D) covariances."""
        return (self.inverse.mT @ self.inverse)[self.of_row].to(self.dtype)

    @property
    def marginals(self) -> Gaussian:
        """The Gaussian of every element by itself."""
        return Gaussian(self.loc, self.variance.log())

    def variance_along(self, directions: Tensor) -> Tensor:
        """(..., B, d) variances of W z.

        Args:
            directions: (d, D) W.
        """
        return (self.inverse @ directions.double().T).square().sum(-2)[self.of_row]

    def antithetic(self, draws: int) -> Tensor:
        """Draws in pairs that are mirrored at the mean, always the same ones: (draws, ..., B, D).

        Args:
            draws: how many.
        """
        rng = torch.Generator(device=self.centre.device).manual_seed(0)
        shape = ((draws + 1) // 2, *self.centre.shape)
        noise = torch.randn(shape, generator=rng, dtype=torch.float64, device=self.centre.device)
        return self._from_noise(torch.stack([noise, -noise], 1).flatten(0, 1)[:draws])

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        return self._from_noise(torch.randn(shape, dtype=torch.float64, device=self.centre.device))

    def from_uniform(self, u: Tensor) -> Tensor:
        """Draw by inverting the distribution function of standard normals, which the covariance then mixes.

        Args:
            u: (..., B, D) uniforms.

        Returns:
            Draws of the same shape.
        """
        return self._from_noise(torch.special.ndtri(off_the_ends(u)).double())

    def _from_noise(self, noise: Tensor) -> Tensor:
        return (self.centre + self._times(noise, self.inverse)).to(self.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        noise = self._times(value.double() - self.centre, self.factor)
        constant = self._log_dets[self.of_row] - 0.5 * math.log(2 * math.pi) * noise.shape[-1]
        return (constant - 0.5 * noise.square().sum(-1)).to(self.dtype)

    @property
    def _log_dets(self) -> Tensor:
        """(P,) ln |C|."""
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def kl_to_standard(self) -> Tensor:
        """KL to N(0, I) in nats, (..., B)."""
        of_pattern = self._variances.sum(-1) / 2 + self._log_dets - self.centre.shape[-1] / 2
        return (of_pattern[self.of_row] + self.centre.square().sum(-1) / 2).to(self.dtype)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> CorrelatedGaussian:
        shape = tuple(batch_shape)
        if shape == self.batch_shape:
            return self
        loc, of_row = self.centre.expand(*shape, self.centre.shape[-1]), self.of_row.expand(shape)
        return CorrelatedGaussian(loc, self.factor, of_row, self.dtype)

    def _times(self, vectors: Tensor, matrices: Tensor) -> Tensor:
        """Every vector as a row times the matrix of its pattern; vectors of one pattern are multiplied together."""
        lead = torch.broadcast_shapes(vectors.shape[:-1], self.of_row.shape)
        flat = vectors.expand(*lead, vectors.shape[-1]).reshape(-1, vectors.shape[-1])
        if len(matrices) == 1:
            return (flat @ matrices[0]).reshape(*lead, -1)
        kinds = self.of_row.expand(lead).reshape(-1)
        order = kinds.argsort(stable=True)
        counts = kinds.bincount(minlength=len(matrices)).tolist()
        parts = [part @ matrix for part, matrix in zip(flat[order].split(counts), matrices) if len(part)]
        return torch.cat(parts)[order.argsort()].reshape(*lead, -1)


@register_kl(CorrelatedGaussian, StandardNormal)
def _kl_to_standard(q: CorrelatedGaussian, p: StandardNormal) -> Tensor:
    return q.kl_to_standard()


@dataclass(frozen=True)
class LinearView:
    """What one modality says of z: x = W z + b + N(0, diag v).

    Args:
        x: (B, d) values; what stands where nothing is seen does not matter.
        weight: (d, D).
        offset: (d,).
        variance: (d,) of the noise.
        elements: (B, d) bool, the features that are known where the modality is seen; None: all.

    Example:
        >>> view = LinearView(torch.zeros(5, 2), torch.eye(2), torch.zeros(2), torch.ones(2))
        >>> linear_posterior([view], torch.ones(5, 1, dtype=torch.bool), 2).batch_shape
        torch.Size([5])
    """

    x: Tensor
    weight: Tensor
    offset: Tensor
    variance: Tensor
    elements: Tensor | None = None


def linear_posterior(
    views: list[LinearView], seen: Tensor, size: int, dtype: torch.dtype | None = None
) -> CorrelatedGaussian:
    """p(z | what is seen) under z ~ N(0, I), exactly: precision I + Σ_m W_mᵀ V_m^-1 W_m over what a row shows.

    Args:
        views: M modalities.
        seen: (..., B, M) bool.
        size: D.
        dtype: of draws and densities.

    Returns:
        A Gaussian of batch shape (..., B); exactly the prior where nothing is seen.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, eq. 2.116-2.117.

    Example:
        >>> view = LinearView(torch.tensor([[3.0]]), torch.ones(1, 1), torch.zeros(1), torch.ones(1))
        >>> q = linear_posterior([view], torch.tensor([[True]]), 1)
        >>> q.mean, q.variance
        (tensor([[1.5000]], dtype=torch.float64), tensor([[0.5000]], dtype=torch.float64))
    """
    rows = seen.shape[-2]
    shift = torch.zeros(*seen.shape[:-1], size, dtype=torch.float64, device=seen.device)
    shown = seen.reshape(-1, seen.shape[-1])
    labels = [shown]
    gains = []
    for m, view in enumerate(views):
        weight = view.weight.double()
        gain = weight / view.variance.double().unsqueeze(-1)
        known = seen[..., m].reshape(-1, rows).any(0).unsqueeze(-1)
        if view.elements is not None:
            known = known & view.elements
            # which features a row shows matters only where the modality is seen
            every = view.elements.expand(*seen.shape[:-1], -1).reshape(len(shown), -1)
            labels.append(every & shown[:, m : m + 1])
        x = torch.where(known, view.x.double() - view.offset.double(), 0.0)
        shift = shift + torch.where(seen[..., m].unsqueeze(-1), x @ gain, 0.0)
        gains.append((weight, gain))
    kinds, of_row = torch.unique(torch.cat(labels, -1), dim=0, return_inverse=True)
    eye = torch.eye(size, dtype=torch.float64, device=seen.device)
    precision = eye.expand(len(kinds), size, size)
    column = len(views)
    for m, (view, (weight, gain)) in enumerate(zip(views, gains)):
        if view.elements is None:
            of_view = weight.mT @ gain
            of_view = (of_view + of_view.mT) / 2
            precision = precision + kinds[:, m, None, None] * of_view
            continue
        elements = kinds[:, column : column + len(weight)].double()
        column += len(weight)
        step = max(1, ROOM // max(1, weight.numel()))
        parts = [(part.unsqueeze(-2) * weight.mT) @ gain for part in elements.split(step)]
        precision = precision + torch.cat(parts)
    factor = torch.linalg.cholesky(precision)
    of_row = of_row.reshape(seen.shape[:-1])
    distribution = CorrelatedGaussian(shift, factor, of_row, dtype)
    half = distribution._times(shift, distribution.inverse.mT)
    distribution.centre = distribution._times(half, distribution.inverse)
    return distribution
