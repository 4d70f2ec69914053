"""Canonical correlations of two or more views, in closed form and as an objective with a gradient, in float64.

With A the covariances between views (0 on the diagonal blocks) and B those within views (0 elsewhere), each with a
ridge, the canonical directions are the top generalised eigenvectors of A w = μ B w. For two views μ are the singular
values of S11^(−1/2) S12 S22^(−1/2), the canonical correlations; for more it is the problem MAXVAR, and μ / (M − 1) is
the mean correlation of the pairs of views.

Source: Andrew, Arora, Bilmes & Livescu 2013, "Deep canonical correlation analysis" (ICML), sec. 3; Kettenring 1971,
"Canonical analysis of several sets of variables" (Biometrika 58), for MAXVAR. Differs: a view may be missing from any
row, and covariances are those of the rows that have both views; the ridge is relative to the variance of a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import UsageError
from .moments import ViewMoments

LEAST = 1e-12  # of a view's largest variance: directions that vary less get no weight,
TINY = 1e-9  # and components whose correlation is not above this are none


@dataclass(frozen=True)
class CanonicalDirections:
    """Canonical directions of M views.

    Args:
        sizes: columns of each view.
        weights: (k, K), wᵀ B w = 1 each; 0 for components that are not correlated.
        eigenvalues: (k,) μ, falling; 0 for such components.

    Example:
        >>> x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        >>> moments = ViewMoments.of([x, x @ torch.tensor([[1.0, 2.0], [0.0, 1.0]])], torch.ones(50, 2).bool())
        >>> canonical_directions(moments, 3, 0.0).correlations  # two views of two columns that tell the same
        tensor([1.0000, 1.0000, 0.0000], dtype=torch.float64)
    """

    sizes: tuple[int, ...]
    weights: Tensor
    eigenvalues: Tensor

    @property
    def correlations(self) -> Tensor:
        """(k,) correlation of each component; of more than two views the mean over their pairs."""
        return self.eigenvalues / (len(self.sizes) - 1)

    def projections(self) -> tuple[Tensor, ...]:
        """Return the weights of each view, (k, d_m), scaled so that the variates of a view have variance 1; of more
        than two views, on average over them.
        """
        return (self.weights * len(self.sizes) ** 0.5).split(self.sizes, -1)


def canonical_directions(moments: ViewMoments, size: int, reg: float | Sequence[float]) -> CanonicalDirections:
    """Find the canonical directions, without a gradient.

    Args:
        moments: of the columns of M views.
        size: k, how many directions.
        reg: r of each view's ridge, r times the mean variance of its columns; one for all, or one for each view.

    Returns:
        The directions, each with its largest weight positive. There are at most as many correlated ones as the views
        have columns in common; the others are 0.

    Raises:
        UsageError: there is one view only, or a negative ridge.

    Example:
        >>> x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        >>> moments = ViewMoments.of([x, x.flip(1)], torch.ones(50, 2, dtype=torch.bool))
        >>> found = canonical_directions(moments, 1, 0.0)
        >>> found.weights.shape, found.eigenvalues
        (torch.Size([1, 4]), tensor([1.0000], dtype=torch.float64))
    """
    sizes = moments.sizes
    ridges = _ridges(sizes, reg)
    with torch.no_grad():
        roots = [_inverse_root(block, ridge) for block, ridge in zip(moments.within(), ridges)]
        parts = moments.covariance.split(sizes)
        whitened = [[r.T @ block @ s for s, block in zip(roots, p.split(sizes, -1))] for r, p in zip(roots, parts)]
        for i, row in enumerate(whitened):
            row[i] = torch.zeros_like(row[i])
        between = torch.cat([torch.cat(row, -1) for row in whitened])
        values, vectors = torch.linalg.eigh((between + between.T) / 2)
        values, vectors = values.flip(0)[:size], vectors.flip(1)[:, :size]
        found = torch.cat([r @ v for r, v in zip(roots, vectors.split(sizes))]).T
        largest = found.gather(-1, found.abs().argmax(-1, keepdim=True))
        correlated = values > TINY
        found = torch.where(correlated.unsqueeze(-1), torch.where(largest < 0, -found, found), 0.0)
        lacking = size - len(values)
        weights = torch.cat([found, found.new_zeros(lacking, found.shape[-1])])
        eigenvalues = torch.cat([torch.where(correlated, values, 0.0), values.new_zeros(lacking)])
    return CanonicalDirections(sizes, weights, eigenvalues)


def canonical_correlation(
    moments: ViewMoments, directions: CanonicalDirections, reg: float | Sequence[float]
) -> Tensor:
    """The total correlation Σ_j μ_j / (M − 1) of the moments along directions, as a Lagrangian: with the directions of
    these moments it is their total correlation, and its gradient is the exact one.

    Σ_j [w_jᵀ A w_j − μ_j (w_jᵀ B w_j − 1)] is stationary in w_j and μ_j at the optimum, so both are constants. No
    difference of eigenvalues is divided by: where eigenvalues are equal the gradient is finite, and it is a subgradient
    where the last one that counts equals the first that does not.

    Args:
        moments: of a batch, through which gradients flow.
        directions: from `canonical_directions`, of the same moments.
        reg: as of `canonical_directions`.

    Returns:
        A scalar of float64.

    Example:
        >>> x, y = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0))
        >>> moments = ViewMoments.of([x, y], torch.ones(50, 2, dtype=torch.bool))
        >>> found = canonical_directions(moments, 2, 1e-3)
        >>> torch.allclose(canonical_correlation(moments, found, 1e-3), found.correlations.sum())
        True
    """
    sizes, w = moments.sizes, directions.weights
    total = ((w @ moments.covariance) * w).sum(-1)
    within = torch.zeros_like(total)
    ridge = torch.zeros_like(total)
    parts = zip(w.split(sizes, -1), moments.within(), _ridges(sizes, reg))
    for part, block, own in parts:
        within = within + ((part @ block) * part).sum(-1)
        ridge = ridge + own * block.diagonal().mean() * part.square().sum(-1)
    correlated = (directions.eigenvalues > 0).to(total.dtype)
    found = total - within - directions.eigenvalues * (within + ridge - correlated)
    return found.sum() / (len(sizes) - 1)


def code_correlation(codes: Tensor, observed: Tensor) -> Tensor:
    """How far the codes of the views of a row agree, component by component: the covariance of the codes of two views,
    on average over the pairs, over the variance, on average over the views. For two views that all rows have it is
    between −1 and 1, and the correlation where both have the same variance.

    Args:
        codes: (M, B, D).
        observed: (B, M) bool.

    Returns:
        (D,); 0 where no row has two views.

    Example:
        >>> code_correlation(torch.tensor([[[1.0], [-1.0]], [[1.0], [-1.0]]]), torch.ones(2, 2).bool())
        tensor([1.])
    """
    keep = observed.T.unsqueeze(-1)  # (M, B, 1)
    z, seen = torch.where(keep, codes, 0.0), observed.to(codes.dtype)
    z = torch.where(keep, z - z.sum(1, keepdim=True) / keep.sum(1, keepdim=True).clamp_min(1), 0.0)
    both = (seen.T @ seen).unsqueeze(-1)
    products = torch.einsum("mbd,nbd->mnd", z, z) / both.clamp_min(1)
    of_pair = (both > 0).to(z.dtype) * (1 - torch.eye(len(codes), dtype=z.dtype, device=z.device)).unsqueeze(-1)
    square = products.diagonal().sum(-1) / seen.any(0).to(z.dtype).sum().clamp_min(1)
    mean = (products * of_pair).sum((0, 1)) / of_pair.sum((0, 1)).clamp_min(1)
    return torch.where(square > 0, mean / torch.where(square > 0, square, 1.0), 0.0)


def _inverse_root(block: Tensor, ridge: float) -> Tensor:
    """R with Rᵀ (block + ridge · mean variance · I) R = I, but 0 where it hardly varies."""
    values, vectors = torch.linalg.eigh(block + ridge * block.diagonal().mean() * torch.eye(len(block)).to(block))
    keep = values > LEAST * values[-1].clamp_min(0.0)
    return vectors * torch.where(keep, values.clamp_min(torch.finfo(values.dtype).tiny).rsqrt(), 0.0)


def _ridges(sizes: Sequence[int], reg: float | Sequence[float]) -> list[float]:
    ridges = [float(reg)] * len(sizes) if isinstance(reg, int | float) else [float(r) for r in reg]
    if len(sizes) < 2 or len(ridges) != len(sizes) or min(ridges) < 0:
        raise UsageError(f"canonical correlation: {len(sizes)} views with reg {reg}; give two views, and reg ≥ 0.")
    return ridges
