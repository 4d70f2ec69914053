"""Pareto-smoothed importance sampling, for all rows at once.

Source: Vehtari, Simpson, Gelman, Yao, Gabry 2024, JMLR 25, arXiv:1507.02646. The generalised-Pareto fit is that of
Zhang and Stephens 2009, Technometrics 51(3).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

MAX_KHAT = 0.7  # above this, an importance estimate cannot be trusted
MIN_DRAWS = 25  # with fewer draws the tail has fewer than five, and there is no k̂
ROUNDING = 64  # units in the last place of the terms of a log-weight, within which weights count as equal


class Smoothed(NamedTuple):
    """Smoothed importance weights.

    Args:
        weights: (K, B), normalised over the K draws.
        ess: (B,) effective sample size.
        khat: (B,) Pareto shape k̂; above 0.7 the estimate cannot be trusted.
    """

    weights: Tensor
    ess: Tensor
    khat: Tensor


def smooth(log_weights: Tensor, rounding: Tensor | None = None) -> Smoothed:
    """Replace the largest weights of each row by the order statistics of a generalised Pareto distribution fitted to
    them.

    A guide that is the posterior has equal weights up to the rounding of the densities that they are made of. The tail
    of such noise says nothing about the guide, and k̂ of it is anything.

    Args:
        log_weights: (K, B) in nats, not normalised.
        rounding: (B,) the error in nats that the log-weights may have from rounding; None for none.

    Returns:
        The smoothed weights. With a tail of fewer than five draws (K < 25) nothing is smoothed and k̂ is NaN; weights
        that are equal, or whose logarithms span no more than `rounding`, have k̂ = 0.
    """
    draws = log_weights.shape[0]
    log_weights = log_weights.double() - log_weights.double().max(0).values
    span = -log_weights.min(0).values
    tail = min(draws // 5, math.ceil(3 * math.sqrt(draws)))
    khat = torch.full(log_weights.shape[1:], torch.nan, dtype=torch.float64)
    if tail >= 5:
        ordered, order = log_weights.sort(0)
        cut = ordered[draws - tail - 1]  # the largest draw outside the tail
        excess = ordered[draws - tail :].exp() - cut.exp()
        shape, scale = pareto_fit(excess)
        spread = (excess[-1] > 1e-12) & (span > (0.0 if rounding is None else rounding))
        khat = torch.where(spread, shape, excess[-1] * 0.0)  # keeps NaN for weights that are NaN
        p = (torch.arange(tail, dtype=torch.float64) + 0.5).unsqueeze(-1) / tail
        safe = torch.where(shape.abs() < 1e-9, 1e-9, shape)
        quantiles = scale * torch.expm1(-safe * torch.log1p(-p)) / safe
        replaced = (quantiles + cut.exp()).log().clamp_max(0.0)  # never above the largest raw weight
        ordered = torch.cat([ordered[: draws - tail], torch.where(spread, replaced, ordered[draws - tail :])])
        log_weights = torch.empty_like(ordered).scatter_(0, order, ordered)
    weights = torch.softmax(log_weights, 0)
    return Smoothed(weights, 1 / weights.square().sum(0), khat)


def pareto_fit(excess: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a generalised Pareto distribution, with the weak prior of PSIS on its shape.

    Args:
        excess: (n, B) excesses in ascending order.

    Returns:
        (B,) shape k, and (B,) scale σ.
    """
    n = excess.shape[0]
    m = 30 + int(math.sqrt(n))
    tiny = torch.finfo(excess.dtype).tiny
    largest = excess[-1].clamp_min(tiny)
    quarter = excess[int(n / 4 + 0.5) - 1].clamp_min(tiny)
    grid = 1 - torch.sqrt(m / (torch.arange(1, m + 1, dtype=excess.dtype) - 0.5))
    theta = grid.unsqueeze(-1) / (3 * quarter) + 1 / largest  # (m, B)
    shapes = torch.stack([torch.log1p(-t * excess).mean(0) for t in theta])  # m is about forty grid points, not draws
    likelihood = n * (torch.log(-theta / shapes) - shapes - 1)
    weights = torch.softmax(torch.nan_to_num(likelihood, nan=-torch.inf), 0)
    best = (theta * weights).sum(0)
    shape = torch.log1p(-best * excess).mean(0)
    scale = -shape / best
    return (n * shape + 10 * 0.5) / (n + 10), scale
