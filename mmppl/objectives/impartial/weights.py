"""Weights of gradients that depend on their inner products alone."""

from __future__ import annotations

import torch
from torch import Tensor


def norm_weights(gram: Tensor) -> Tensor:
    """Give all gradients the same norm, the mean of theirs.

    Args:
        gram: (..., K, K) inner products of K gradients. One that is 0 does not count, here and in the other rules: a
            decoder whose modality no row has says nothing.

    Returns:
        (..., K) weights in float64.

    Example:
        >>> norm_weights(torch.tensor([[1.0, 0.0], [0.0, 9.0]]))
        tensor([2.0000, 0.6667], dtype=torch.float64)
    """
    norms, there = _norms(gram)
    mean = norms.sum(-1, keepdim=True) / there.sum(-1, keepdim=True).clamp_min(1)
    return torch.where(there, mean / torch.where(there, norms, 1.0), 0.0)


def pcgrad_weights(gram: Tensor, order: Tensor | None = None) -> Tensor:
    """Take from each gradient what points against another one, one after another.

    Args:
        gram: (..., K, K) inner products of the gradients.
        order: (..., K, K) long; row i is the order in which gradient i meets the others (it skips itself). None: drawn
            from PyTorch's generator, for each gradient anew.

    Returns:
        (..., K) weights in float64: those of the sum of what is left.

    Source: Yu et al. 2020, arXiv:2001.06782, algorithm 1: what is left of i is projected onto the normal plane of the
        other gradients as they were, where their inner product is negative.

    Example:
        >>> pcgrad_weights(torch.tensor([[1.0, -1.0], [-1.0, 4.0]]))
        tensor([2.0000, 1.2500], dtype=torch.float64)
    """
    gram = gram.double()
    number = gram.shape[-1]
    if order is None:
        order = torch.rand(gram.shape, dtype=gram.dtype, device=gram.device).argsort(-1)
    every = torch.arange(number, device=gram.device)
    of_original = torch.eye(number, dtype=gram.dtype, device=gram.device).expand(gram.shape)  # what is left, of each
    squares = gram.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
    for step in range(number):
        met = order[..., step : step + 1] == every  # (..., K, K), one True in each row
        product = torch.where(met, of_original @ gram, 0.0).sum(-1, keepdim=True)
        square = torch.where(met, squares, 0.0).sum(-1, keepdim=True)
        other = order[..., step : step + 1] != every.unsqueeze(-1)
        share = torch.where(other & (product < 0) & (square > 0), product / torch.where(square > 0, square, 1.0), 0.0)
        of_original = of_original - torch.where(met, share, 0.0)
    return of_original.sum(-2)


def imtl_weights(gram: Tensor) -> Tensor:
    """Find the combination whose projections on all gradients, each scaled to length 1, are equal and not negative.

    Args:
        gram: (..., K, K) inner products of the gradients.

    Returns:
        (..., K) weights in float64, whose sum is 1.

    Source: Liu et al. 2021, "Towards impartial multi-task learning" (ICLR), the closed form of IMTL-G. Differs: where
        weights that sum to 1 would ascend every task, theirs sum to −1. Here U Uᵀ b = 1 is solved, U the gradients of
        length 1, and the weights are b over the norms, divided by the size of their sum.

    Example:
        >>> imtl_weights(torch.tensor([[1.0, 0.0], [0.0, 9.0]]))
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    norms, there = _norms(gram)
    safe = torch.where(there, norms, 1.0)
    cosines = gram.double() / (safe.unsqueeze(-1) * safe.unsqueeze(-2))
    spare = torch.where(there, torch.finfo(gram.dtype).eps, 1.0)  # gradients may depend on others
    solved, _ = torch.linalg.solve_ex(cosines + torch.diag_embed(spare), there.to(cosines.dtype).unsqueeze(-1))
    weights = solved.squeeze(-1) / safe
    total = weights.sum(-1, keepdim=True).abs()
    return weights / torch.where(total > 0, total, 1.0)


def _norms(gram: Tensor) -> tuple[Tensor, Tensor]:
    """(..., K) norms of the gradients in float64, and which of them are not 0."""
    norms = gram.double().diagonal(dim1=-2, dim2=-1).clamp_min(0.0).sqrt()
    return norms, norms > 0
