"""Weights of gradients that solve a problem over the simplex: non-negative weights whose sum is 1."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import UsageError

MOST = 10  # gradients, of which all 1,023 subsets are tried


def mgda_weights(gram: Tensor) -> Tensor:
    """Find the point of least norm in the convex hull of the gradients, along which no task gets worse.

    Args:
        gram: (..., K, K) inner products of at most 10 gradients; one that is 0 does not count.

    Returns:
        (..., K) weights in float64, not negative, of sum 1.

    Raises:
        UsageError: there are more gradients.

    Source: Sener & Koltun 2018, arXiv:1810.04650, eq. 3; at a latent instead of shared parameters, MGDA-UB. Differs:
        not by Frank-Wolfe steps but exactly. The code of Javaloy et al. 2022 cuts every weight down to 0.001, so that
        all are nearly equal; here they are what they are.

    Example:
        >>> mgda_weights(torch.tensor([[1.0, 0.0], [0.0, 9.0]]))
        tensor([0.9000, 0.1000], dtype=torch.float64)
    """
    return least_on_simplex(gram, torch.zeros_like(gram[..., 0]), torch.ones_like(gram[..., 0, 0]))


def cagrad_weights(gram: Tensor, c: float = 0.5) -> Tensor:
    """Find the direction near the mean gradient along which the task that gains least gains most.

    The direction is d = g₀ + c ‖g₀‖ g_w / ‖g_w‖, where g₀ is the mean of the gradients and w minimises
    g_w · g₀ + c ‖g₀‖ ‖g_w‖ over the simplex: of all d with ‖d − g₀‖ ≤ c ‖g₀‖, its smallest g_k · d is the largest.

    Args:
        gram: (..., K, K) inner products of at most 10 gradients; one that is 0 does not count.
        c: how far d may lie from g₀, as a share of its norm; below 1, d descends the mean.

    Returns:
        (..., K) weights in float64.

    Raises:
        UsageError: there are more gradients.

    Source: Liu et al. 2021, arXiv:2110.14048, eq. 4 and algorithm 1.

    Example:
        >>> cagrad_weights(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        tensor([0.7500, 0.7500], dtype=torch.float64)
    """
    kind, gram = gram.dtype, gram.double()
    there = (gram.diagonal(dim1=-2, dim2=-1) > 0).to(gram.dtype)
    mean = there / there.sum(-1, keepdim=True).clamp_min(1)
    along = (gram @ mean.unsqueeze(-1)).squeeze(-1)
    radius = c * (mean * along).sum(-1).clamp_min(0.0).sqrt()
    worst = least_on_simplex(gram.to(kind), along, radius)
    norm = _quadratic(gram, worst).clamp_min(0.0).sqrt()
    factor = torch.where(norm > 0, radius / torch.where(norm > 0, norm, 1.0), 0.0)
    return mean + factor.unsqueeze(-1) * worst


def least_on_simplex(gram: Tensor, linear: Tensor, radius: Tensor) -> Tensor:
    """Minimise linear · w + radius √(wᵀ gram w) over the simplex.

    Where only the weights of a subset are free, Lagrange's conditions have a closed form, and one subset has the
    solution. A candidate that leaves the simplex is put back on it, and the best candidate is taken. So a fixed number
    of operations gives an exact solution.

    Args:
        gram: (..., K, K), positive semi-definite; w is 0 where its diagonal is 0.
        linear: (..., K).
        radius: (...), not negative.

    Returns:
        (..., K) w in float64.

    Raises:
        UsageError: K is above 10.

    Example:
        >>> least_on_simplex(torch.eye(2), torch.tensor([0.0, 5.0]), torch.tensor(1.0))
        tensor([1., 0.], dtype=torch.float64)
    """
    number, exact = gram.shape[-1], torch.finfo(gram.dtype).eps
    if number > MOST:
        raise UsageError(
            f"{number} gradients are more than mgda and cagrad combine (at most {MOST}); choose norm, pcgrad, imtl or "
            "graddrop."
        )
    gram, linear, radius = gram.double(), linear.double(), radius.double().unsqueeze(-1)
    there = gram.diagonal(dim1=-2, dim2=-1) > 0
    spare = exact * gram.diagonal(dim1=-2, dim2=-1).amax(-1)  # gradients may depend on others
    every = torch.arange(1, 2**number, device=gram.device)  # the bits of each number are a subset: nothing is copied
    free = (every.unsqueeze(-1) >> torch.arange(number, device=gram.device)) % 2 == 1  # (S, K)
    kept = free & there.unsqueeze(-2)  # (..., S, K)
    own = torch.where(kept.unsqueeze(-1) & kept.unsqueeze(-2), gram.unsqueeze(-3), 0.0)
    own = own + torch.diag_embed(torch.where(kept, spare[..., None, None], 1.0))
    right = torch.where(kept, linear.unsqueeze(-2), 0.0)
    solved, _ = torch.linalg.solve_ex(own, torch.stack([kept.to(gram.dtype), right], -1))
    of_one, of_linear = solved.unbind(-1)
    a, b, c = of_one.sum(-1), of_linear.sum(-1), (right * of_linear).sum(-1)
    root = (b.square() - a * (c - radius.square())).clamp_min(0.0).sqrt()
    multiplier = (b + root) / torch.where(a > 0, a, 1.0)
    weights = (multiplier.unsqueeze(-1) * of_one - of_linear).clamp_min(0.0)
    total = weights.sum(-1, keepdim=True)
    equal = kept.to(gram.dtype) / kept.sum(-1, keepdim=True).clamp_min(1)
    weights = torch.where(total > 0, weights / torch.where(total > 0, total, 1.0), equal)
    norm = _quadratic(gram.unsqueeze(-3), weights).clamp_min(0.0).sqrt()
    value = (right * weights).sum(-1) + radius * norm
    best = torch.where(kept.any(-1), value, torch.inf).argmin(-1, keepdim=True).unsqueeze(-1)
    return weights.gather(-2, best.expand(*best.shape[:-1], number)).squeeze(-2)


def _quadratic(gram: Tensor, w: Tensor) -> Tensor:
    """wᵀ gram w."""
    return (w * (gram @ w.unsqueeze(-1)).squeeze(-1)).sum(-1)
