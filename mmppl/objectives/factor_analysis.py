"""Variational Bayes for group factor analysis: closed-form updates over all rows, in float64.

Model, for row i, view m and feature j, with z̃_i = (z_i, 1):

    z_i ~ N(0, I),   x_ij = w_j·z̃_i + N(0, 1/τ_j),   w_jk ~ N(0, 1/α_mk).

The precision α_mk of view m and factor k switches off a factor that the view does not use (automatic relevance
determination), so a factor is shared or private as the data say; one that no view uses is dropped. q(Z) q(W) q(τ) q(r)
q(α) are updated in turn, each at its optimum given the others, and the factors are rotated to where the bound is
highest (`rotation`).

Source: Virtanen, Klami, Khan & Kaski 2012, "Bayesian group factor analysis" (AISTATS), with the rotation of Virtanen,
Klami & Kaski 2011, "Bayesian CCA via group sparsity" (ICML). Differs: the noise is one per feature (or per view); any
view, or single elements of it, may be missing from a row; the offset is the last column of W; the prior of the noise
has heavy tails.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError
from .factors.gapped import GappedSide
from .factors.side import Side
from .factors.view import FactorView, Loadings, Prior
from .rotation import Loaded, best_rotation

LEAST = 0.01  # precision Σ τ_j w_jk² that a factor has to add to the prior's 1, or it is dropped


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


def fit_factors(
    views: Mapping[str, FactorView], size: int, *, prior: Prior = Prior(), tolerance: float = 1e-6, most: int = 1000
) -> FactorFit:
    """Fit group factor analysis by variational Bayes; the same rows give the same bits.

    A pass costs O(n d D + d D² + P D³) for n rows of d features with P patterns of missing views: no d × d matrix is
    formed. Of a view with gaps every row and every feature has a D × D matrix of its own, O(n d D² + (n + d) D³).

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
    sides = [(Side if view.elements is None else GappedSide)(view, size, prior) for view in views.values()]
    observed = torch.stack([side.rows for side in sides], -1)
    rows = len(observed)
    if rows < 2:
        raise DataError(f"factor analysis needs two rows to learn from and has {rows}; give more training rows.")
    gapped = [side for side in sides if isinstance(side, GappedSide)]
    shown = torch.cat([observed, *(side.there.bool() for side in gapped)], -1)
    kinds, of_row = torch.unique(shown, dim=0, return_inverse=True)
    at = [] if gapped else [(of_row == kind).nonzero().squeeze(-1) for kind in range(len(kinds))]
    counts = of_row.bincount(minlength=len(kinds)).double()
    share = kinds[:, : len(sides)].double() * counts.unsqueeze(-1)  # rows that have a view
    mean, covariance = _start(sides, size)
    bounds: list[float] = []
    enough = tolerance * max(1, sum(side.numbers for side in sides))
    converged = False
    _update_views(sides, mean, covariance, share, of_row)
    for side in sides:  # W did not know the noise yet
        side.again()
    while not converged and len(bounds) < most:
        _drop_needless(sides)
        left = sides[0].size
        eye = torch.eye(left, dtype=torch.float64, device=kinds.device)
        precisions = _precisions(sides, kinds)
        factor = torch.linalg.cholesky(eye + precisions[:, :left, :left])
        covariance = torch.cholesky_inverse(factor)
        log_det = -2 * (counts * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)).sum()
        shift = torch.stack([side.shift() for side in sides]).sum(0)
        if gapped:
            mean = torch.bmm(covariance[of_row], (shift - precisions[of_row, :left, left]).unsqueeze(-1)).squeeze(-1)
        else:  # few patterns, of many rows each
            mean = torch.empty_like(shift)
        for kind, places in enumerate(at):
            mean[places] = (shift[places] - precisions[kind, :left, left]) @ covariance[kind]
        moments = mean.T @ mean + torch.einsum("p,pkl->kl", counts, covariance)
        turn = best_rotation(
            moments, rows, [Loaded(side.d, side.gram[:left, :left], *prior.relevance) for side in sides]
        )
        back = torch.linalg.inv(turn)
        mean, covariance, moments = mean @ back.T, back @ covariance @ back.T, back @ moments @ back.T
        log_det = log_det - 2 * rows * torch.linalg.slogdet(turn).logabsdet
        for side in sides:
            side.update_relevance(turn.T @ side.gram[:left, :left] @ turn)
        _update_views(sides, mean, covariance, share, of_row)
        of_rows = log_det / 2 - moments.diagonal().sum() / 2 + rows * left / 2
        bounds.append(float(of_rows + sum(side.bound() for side in sides)))
        converged = len(bounds) > 1 and bounds[-1] - bounds[-2] < enough
    loadings = {name: side.loadings(size) for name, side in zip(views, sides)}
    return FactorFit(loadings, {n: side.alpha[:-1] for n, side in zip(views, sides)}, bounds, converged)


def _update_views(sides: Sequence[Side], mean: Tensor, covariance: Tensor, share: Tensor, of_row: Tensor) -> None:
    """q(W) and the noise of every view, given E z (n, D) and its covariance by pattern (P, D, D)."""
    padded = torch.cat([mean, mean.new_ones(len(mean), 1)], -1)
    for m, side in enumerate(sides):
        side.update(padded, covariance, share[:, m], of_row)


def _drop_needless(sides: Sequence[Side]) -> None:
    """Drop the factors to whose precision all views add next to nothing."""
    gain = torch.stack([side.gain() for side in sides]).sum(0)[:-1]
    needed = gain >= min(LEAST, float(gain.max()))
    if not needed.all():
        for side in sides:
            side.keep(needed)


def _precisions(sides: Sequence[Side], kinds: Tensor) -> Tensor:
    """(P, D + 1, D + 1) precisions that the views add to z, by pattern of what rows have: views, then the features of
    views with gaps."""
    whole = [m for m, side in enumerate(sides) if not isinstance(side, GappedSide)]
    size, column = sides[0].size + 1, len(sides)
    total = torch.zeros(len(kinds), size, size, dtype=torch.float64, device=kinds.device)
    if whole:
        every = torch.stack([sides[m].precision() for m in whole])
        total = torch.einsum("pm,mkl->pkl", kinds[:, whole].double(), every)
    for side in sides:
        if isinstance(side, GappedSide):
            total = total + side.precisions(kinds[:, column : column + side.d])
            column += side.d
    return total


def _start(sides: Sequence[Side], size: int) -> tuple[Tensor, Tensor]:
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
