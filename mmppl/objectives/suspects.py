"""Which group of rows depends least on the others' code: where to look for noise first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .dependence.covariance import cross_covariance

GROUPS = 16
ENOUGH = 4  # rows of a group, of which there is a covariance at all
SURE = 0.98  # importance to begin with where nothing is suspected, and 1 less that of suspects
LEAST, MOST = 64, 6_000  # rows that are grouped: at least, and about so many at most


def least_dependent(z: Tensor, u: Tensor, share: float, *, seed: int = 0) -> tuple[Tensor, int]:
    """Group rows by k-means of their codes u, and find the group in which z and u covary least.

    Noise has codes that are close to each other and unrelated to the rest, so it is such a group. Groups are looked at
    that hold a quarter to twice the share of rows that noise is expected to have.

    Args:
        z: (n, D) codes of all modalities together.
        u: (n, D) codes of one modality.
        share: the share of rows that noise is expected to have.
        seed: the seed of the k-means.

    Returns:
        (K, D) centres of at most 16 groups, of which a row's is the nearest, and the number of the group; −1 if no
        group has such a share.

    Example:
        >>> noise = 0.01 * torch.randn(20, 2, generator=torch.Generator().manual_seed(0)) + 3
        >>> shared = torch.randn(180, 2, generator=torch.Generator().manual_seed(1))
        >>> codes = torch.cat([noise, shared])
        >>> centres, number = least_dependent(codes, codes, 0.1)
        >>> torch.cdist(codes, centres).argmin(-1).eq(number).nonzero().flatten().max().item()
        19
    """
    from sklearn.cluster import KMeans

    points = u.detach().cpu().double().numpy()
    distinct = len(np.unique(points, axis=0))
    found = KMeans(min(GROUPS, distinct), n_init=2, random_state=seed).fit(points)
    best, number = torch.inf, -1
    for group in range(found.n_clusters):
        rows = torch.from_numpy(found.labels_ == group).to(u.device)
        count = int(rows.sum())
        if count < ENOUGH or not share / 4 <= count / len(u) <= 2 * share:
            continue
        left = float(cross_covariance(z[rows], u[rows]).detach())
        if left < best:
            best, number = left, group
    return torch.from_numpy(found.cluster_centers_).to(u), number


class Suspects(nn.Module):
    """The suspected groups of several modalities, as buffers.

    Args:
        modalities: their number M.
        size: D, the size of a code.

    Example:
        >>> suspects = Suspects(1, 2)
        >>> suspects.found
        tensor([False])
    """

    centres: Tensor
    number: Tensor

    def __init__(self, modalities: int, size: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(modalities, GROUPS, size))
        self.register_buffer("number", torch.full((modalities,), -1))
        self.gathered: list[tuple[Tensor, Tensor, Tensor]] = []
        self.every = 1

    @property
    def found(self) -> Tensor:
        """(M,) bool, whether any group is suspected."""
        return self.number >= 0

    def gather(self, z: Tensor, u: Tensor, observed: Tensor) -> None:
        """Take some of the rows of a batch, evenly over all batches in their order.

        Args:
            z: (B, D) codes of all modalities together.
            u: (M, B, D) codes of each.
            observed: (M, B) bool.
        """
        self.gathered.append((z[:: self.every], u[:, :: self.every], observed[:, :: self.every]))
        if sum(len(part[0]) for part in self.gathered) > MOST:
            self.gathered = [(z[::2], u[:, ::2], observed[:, ::2]) for z, u, observed in self.gathered]
            self.every *= 2

    def find(self, shares: Sequence[float]) -> None:
        """Find the group of each modality in which z and u covary least; of fewer than 64 rows none is found.

        Args:
            shares: of each modality's rows, the share that noise is expected to have.
        """
        z, u, observed = (
            torch.cat([z for z, _, _ in self.gathered]),
            *(torch.cat([part[i] for part in self.gathered], 1) for i in (1, 2)),
        )
        self.gathered, self.every = [], 1
        for i, share in enumerate(shares):
            self.number[i] = -1
            if observed[i].sum() >= LEAST:
                centres, self.number[i] = least_dependent(z[observed[i]], u[i, observed[i]], share)
                self.centres[i] = torch.inf  # those that are not in use
                self.centres[i, : len(centres)] = centres

    def among(self, u: Tensor) -> Tensor:
        """Say whether codes are nearest to the centre of a suspected group.

        Args:
            u: (M, B, D).

        Returns:
            (M, B) bool.
        """
        apart = torch.cdist(u, self.centres, compute_mode="donot_use_mm_for_euclid_dist")  # which knows infinity
        return apart.argmin(-1) == self.number.unsqueeze(-1)

    def cross_entropy(self, u: Tensor, log_y: Tensor, observed: Tensor) -> Tensor:
        """Compare importances with those to begin with: .02 of suspects, .98 of all else.

        Args:
            u: (M, B, D).
            log_y: (M, B) ln of the importances, at most 0.
            observed: (M, B) bool.

        Returns:
            (M,) cross-entropies in nats, means over the rows that are observed; 0 where no group is suspected.
        """
        target = torch.where(self.among(u), 1 - SURE, SURE)
        lost = -(target * log_y + (1 - target) * torch.log((-torch.expm1(log_y)).clamp_min(1e-7)))
        mean = torch.where(observed, lost, 0.0).sum(-1) / observed.sum(-1).clamp_min(1)
        return torch.where(self.found, mean, 0.0)
