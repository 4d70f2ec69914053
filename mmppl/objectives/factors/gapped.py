"""A view of factor analysis whose rows lack single elements: every feature has a second moment of z of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .side import Side
from .view import FactorView, Prior

ROOM = 2**24  # numbers of one batch of matrices


class GappedSide(Side):
    """q(W, τ, r, α) of one view, where feature j is observed in rows of its own.

    cov w_j = (A + τ_j S_j)^-1 with S_j = Σ E z̃_i z̃_iᵀ over the rows that have j, and z_i has the precision
    I + Σ τ_j E w_j w_jᵀ over the features that it has. Symmetric (D + 1)² matrices are kept as their upper triangles,
    of T numbers: those of all features, (d, T), and of all rows, (n, T), are the products with the (n, d) mask.
    """

    def __init__(self, view: FactorView, size: int, prior: Prior) -> None:
        super().__init__(view, size, prior)
        there, _ = self._counted(view)
        self.there = there[:, self.varies].double()
        self.count = self.count[self.varies]

    def _counted(self, view: FactorView) -> tuple[Tensor, Any]:
        assert view.elements is not None  # else it is a `Side`
        there = view.observed.unsqueeze(-1) & view.elements
        return there, there.sum(0).clamp_min(1).double()

    @property
    def numbers(self) -> int:
        return int(self.count.sum())

    def update(self, mean: Tensor, covariance: Tensor, share: Tensor, of_row: Tensor) -> None:
        rows, columns = self._triangle(mean.shape[1])
        moments = mean[:, rows] * mean[:, columns]
        padded = torch.nn.functional.pad(covariance, (0, 1, 0, 1))[:, rows, columns]
        moments += padded[of_row] if len(padded) > 1 else padded
        self.moments = self.there.T @ moments  # (d, T) S_j
        self.linear = self.x.T @ mean  # (d, D + 1) Σ x_ij E z̃_i
        self.again()

    def again(self) -> None:
        rows, columns = self._triangle(len(self.alpha))
        size = len(self.alpha)
        self.weights = torch.empty_like(self.linear)
        self.second = torch.empty_like(self.moments)  # E w_j w_jᵀ
        self.log_det = self.linear.new_zeros(())  # Σ_j ln |cov w_j|
        for part in torch.arange(self.d, device=self.x.device).split(max(1, ROOM // size**2)):
            precision = self.moments.new_empty(len(part), size, size)
            precision[:, rows, columns] = precision[:, columns, rows] = self.tau[part, None] * self.moments[part]
            precision += self.alpha.diag()
            factor = torch.linalg.cholesky(precision)
            covariance = torch.cholesky_inverse(factor)
            weights = self.tau[part, None] * (covariance @ self.linear[part].unsqueeze(-1)).squeeze(-1)
            self.weights[part] = weights
            self.second[part] = covariance[:, rows, columns] + weights[:, rows] * weights[:, columns]
            self.log_det = self.log_det - 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum()
        self.gram = self._full(self.second.sum(0))
        self.update_noise()

    def _residual(self) -> Tensor:
        rows, columns = self._triangle(len(self.alpha))
        twice = torch.where(rows == columns, 1.0, 2.0).double()
        return self.square - 2 * (self.weights * self.linear).sum(-1) + (self.moments * self.second) @ twice

    def gain(self) -> Tensor:
        held = self.there.mean(0)
        return ((held * self.tau).unsqueeze(-1) * self.weights.square()).sum(0)

    def precisions(self, kinds: Tensor) -> Tensor:
        """Σ_j E τ_j w_j w_jᵀ over the features of each pattern.

        Args:
            kinds: (P, d) bool, of the features that vary.

        Returns:
            (P, D + 1, D + 1).
        """
        return self._full((kinds.double() * self.tau) @ self.second)

    def shift(self) -> Tensor:
        return self.x @ (self.tau[:, None] * self.weights[:, :-1])

    def keep(self, kept: Tensor) -> None:
        rows, columns = self._triangle(len(self.alpha))
        left = torch.cat([kept, kept.new_ones(1)])
        self.size = int(kept.sum())
        self.alpha, self.gram = self.alpha[left], self.gram[left][:, left]
        self.weights = self.weights[:, left]
        self.second = self.second[:, left[rows] & left[columns]]

    def mean(self) -> Tensor:
        return self.weights

    def spread(self) -> Tensor:
        rows, columns = self._triangle(len(self.alpha))
        return self.second[:, rows == columns].sum(-1) - self.weights.square().sum(-1)

    def _triangle(self, size: int) -> tuple[Tensor, Tensor]:
        rows, columns = torch.triu_indices(size, size, device=self.x.device)
        return rows, columns

    def _full(self, triangle: Tensor) -> Tensor:
        """(..., T) → (..., D + 1, D + 1)."""
        size = len(self.alpha)
        rows, columns = self._triangle(size)
        full = triangle.new_empty(*triangle.shape[:-1], size, size)
        full[..., rows, columns] = full[..., columns, rows] = triangle
        return full
