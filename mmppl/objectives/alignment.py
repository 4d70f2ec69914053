"""Alignment: how far apart the posteriors of one row's modalities are, as a term of any loss.

The squared 2-Wasserstein distance of diagonal Gaussians is the squared distance of the points (mean, sd), so what holds
for points holds for them: over n of them, the sum over all pairs is n times the sum of the distances to their centre.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..base.precision import full_precision
from ..core.terms import Terms, Weight

By = Literal["pairwise", "barycentre"]


def wasserstein2(loc: Tensor, log_var: Tensor, other_loc: Tensor, other_log_var: Tensor) -> Tensor:
    """W2² = Σ_d (m_d − m'_d)² + (s_d − s'_d)² of diagonal Gaussians, with standard deviations s.

    It is a sum over dimensions and not in nats: state D with it. Its gradient is zero where both are equal (that of W2
    is not).

    Args:
        loc: (..., D) means of one Gaussian.
        log_var: (..., D) its log-variances.
        other_loc: (..., D) means of the other Gaussian.
        other_log_var: (..., D) its log-variances.

    Returns:
        (...).

    Source: Givens & Shortt 1984, for covariances that commute.
    """
    return (_points(loc, log_var) - _points(other_loc, other_log_var)).square().sum(-1)


def pairwise(loc: Tensor, log_var: Tensor, observed: Tensor) -> Tensor:
    """Σ W2² over the pairs of what a row has, by its definition: O(M²).

    Args:
        loc: (M, B, D) means of the experts. What is not observed may hold anything, NaN included.
        log_var: (M, B, D) log-variances of the experts.
        observed: (B, M) bool.

    Returns:
        (B,); 0, and no gradient, for rows with fewer than two modalities.
    """
    points, has = _of_each(loc, log_var, observed)
    i, j = torch.triu_indices(len(points), len(points), 1, device=points.device)
    return torch.where(has[i] & has[j], points[i] - points[j], 0.0).square().sum((0, -1))


def to_barycentre(loc: Tensor, log_var: Tensor, observed: Tensor) -> Tensor:
    """The same number as `pairwise`, as n Σ W2² to the barycentre of the n experts that a row has: O(M).

    Args:
        loc: (M, B, D) means of the experts. What is not observed may hold anything, NaN included.
        log_var: (M, B, D) log-variances of the experts.
        observed: (B, M) bool.

    Returns:
        (B,); 0, and no gradient, for rows with fewer than two modalities.
    """
    points, has = _of_each(loc, log_var, observed)
    count = has.sum(0)  # (B, 1)
    centre = points.sum(0) / count.clamp_min(1)
    return count.squeeze(-1) * torch.where(has, points - centre, 0.0).square().sum((0, -1))


def alignment(loc: Tensor, log_var: Tensor, observed: Tensor, gamma: Weight = 1.0, *, by: By = "barycentre") -> Terms:
    """The term `w2`: the mean over rows of Σ W2² over the pairs of what a row has.

    Any program can compute the experts with `program.experts(batch)`. Where its guide has made a product or barycentre
    of them, `traces.guide.nodes["z"]["fn"].experts` has them without another run of the encoders.

    Args:
        loc: (M, B, D) means of the experts. What is not observed may hold anything, NaN included.
        log_var: (M, B, D) log-variances of the experts.
        observed: (B, M) bool, such as `batch.seen` of a batch that is not under subsets.
        gamma: weight of the term.
        by: how it is computed: over the pairs, or from the barycentre.

    Returns:
        The term `w2`.

    Raises:
        ValueError: the shapes disagree.

    Example:
        >>> loc = torch.tensor([[[0.0]], [[2.0]]])  # two experts, one row, one dimension
        >>> alignment(loc, torch.zeros(2, 1, 1), torch.tensor([[True, True]]), gamma=0.5)
        {'w2': (tensor(4.), 0.5)}
    """
    rows = (pairwise if by == "pairwise" else to_barycentre)(loc, log_var, observed)
    return Terms(w2=(rows.mean(), gamma))


def _points(loc: Tensor, log_var: Tensor) -> Tensor:
    """(..., D) each → (..., 2D), means and standard deviations."""
    return torch.cat([full_precision(loc), torch.exp(0.5 * full_precision(log_var))], -1)


def _of_each(loc: Tensor, log_var: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """(M, B, 2D) points, finite everywhere, and (M, B, 1) bool where there is one."""
    if loc.ndim != 3 or log_var.shape != loc.shape or observed.shape != (loc.shape[1], loc.shape[0]):
        raise ValueError(
            "alignment: expected loc (M, B, D), log_var (M, B, D), observed (B, M); got "
            f"{tuple(loc.shape)}, {tuple(log_var.shape)}, {tuple(observed.shape)}."
        )
    has = observed.mT.unsqueeze(-1)
    return torch.where(has, _points(*(torch.where(has, t, 0.0) for t in (loc, log_var))), 0.0), has
