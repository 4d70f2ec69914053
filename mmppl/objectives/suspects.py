"""Which group of rows depends least on the others' code: where to look for noise first."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .dependence import cross_covariance

GROUPS = 16
ENOUGH = 4  # rows of a group, of which there is a covariance at all


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
        left = float(cross_covariance(z[rows], u[rows]))
        if left < best:
            best, number = left, group
    return torch.from_numpy(found.cluster_centers_).to(u), number
