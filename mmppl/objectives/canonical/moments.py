"""Means and covariances of the columns of several views, any of which may be missing from a row, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ViewMoments:
    """Means and covariances of the columns of M views, K columns in all, each pair from the rows that have both views.

    Args:
        sizes: columns of each view.
        count: (M, M) rows that have both of two views.
        mean: (K, M) mean of each column over the rows that also have a view; with its own view, over all rows that have
            it.
        covariance: (K, K) about these means, over n − 1; 0 between views that no two rows have together.

    Example:
        >>> x, y = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0))
        >>> found = ViewMoments.of([x, y], torch.ones(50, 2, dtype=torch.bool))
        >>> torch.allclose(found.covariance[:3, :3], torch.cov(x.double().T))
        True
    """

    sizes: tuple[int, ...]
    count: Tensor
    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, views: Sequence[Tensor], observed: Tensor) -> ViewMoments:
        """Compute them from rows.

        Args:
            views: M of (B, d_m). What stands where a view is missing never matters, if it is finite.
            observed: (B, M) bool.

        Returns:
            The moments, through which gradients flow to the views.
        """
        sizes = tuple(view.shape[-1] for view in views)
        owner = _owner(sizes, observed.device)
        seen = observed.double()
        columns = seen[:, owner]
        x = torch.cat([view.double() for view in views], -1)
        x = torch.where(columns > 0, x, 0.0)
        count = seen.T @ seen
        shift = (x.sum(0) / count.diagonal()[owner].clamp_min(1)).detach()  # so that large means cost no digits
        x = torch.where(columns > 0, x - shift, 0.0)
        sums = x.T @ seen
        of_pair = sums[:, owner]  # of the column's own view and the other column's
        both = count[owner][:, owner]
        covariance = (x.T @ x - of_pair * of_pair.T / both.clamp_min(1)) / (both - 1).clamp_min(1)
        mean = sums / count[owner].clamp_min(1) + shift.unsqueeze(-1)
        return cls(sizes, count, mean, covariance)

    def joined(self, other: ViewMoments) -> ViewMoments:
        """Compute the moments of the rows of both.

        Args:
            other: the moments of other rows.

        Returns:
            What `of` gives for all rows together.

        Source: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
        """
        owner = _owner(self.sizes, self.count.device)
        count = self.count + other.count
        share = other.count / count.clamp_min(1)
        gap = (other.mean - self.mean) * ((self.count > 0) & (other.count > 0))[owner]
        both, ours, theirs = (n[owner][:, owner] for n in (count, self.count, other.count))
        scatter = self.covariance * (ours - 1).clamp_min(0) + other.covariance * (theirs - 1).clamp_min(0)
        scatter = scatter + gap[:, owner] * gap[:, owner].T * ours * theirs / both.clamp_min(1)
        mean = torch.where((self.count > 0)[owner], self.mean, other.mean) + gap * share[owner]
        return ViewMoments(self.sizes, count, mean, scatter / (both - 1).clamp_min(1))

    def mixed(self, newer: ViewMoments, memory: float) -> ViewMoments:
        """Average these moments, whose rows count less by a factor, and those of newer rows.

        Args:
            newer: the moments of the newer rows.
            memory: the factor, in [0, 1).

        Returns:
            Running moments. How far the means have moved in between is no variance.
        """
        owner = _owner(self.sizes, self.count.device)
        old = memory * self.count
        share = newer.count / (old + newer.count).clamp_min(1e-30)
        of_mean, of_pair = share[owner], share[owner][:, owner]
        mean = self.mean + of_mean * (newer.mean - self.mean)
        covariance = self.covariance + of_pair * (newer.covariance - self.covariance)
        return ViewMoments(self.sizes, old + newer.count, mean, covariance)

    def own_mean(self) -> tuple[Tensor, ...]:
        """Return the mean of each view over the rows that have it, (d_m,) each."""
        parts = self.mean.split(self.sizes)
        return tuple(part[:, i] for i, part in enumerate(parts))

    def within(self) -> list[Tensor]:
        """Return the covariance of each view, (d_m, d_m)."""
        rows = self.covariance.split(self.sizes)
        return [row.split(self.sizes, -1)[i] for i, row in enumerate(rows)]


def _owner(sizes: Sequence[int], device: torch.device) -> Tensor:
    """(K,) the view that each column belongs to."""
    return torch.tensor([i for i, size in enumerate(sizes) for _ in range(size)], device=device)
