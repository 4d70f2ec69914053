"""Quantiles of counts: the smallest count whose distribution function reaches a probability."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FEW = 64  # counts that are gone through one after the other, from 0 on
MOST = 2.0**60  # above, neighbouring counts are one and the same number


def count_quantile(u: Tensor, mean: Tensor, dispersion: Tensor | float = 0.0) -> Tensor:
    """Invert the distribution function of a negative binomial, or of a Poisson.

    Args:
        u: probabilities; broadcasts against the others. Below 1.
        mean: positive means.
        dispersion: (variance − mean) / mean²; 0 is a Poisson.

    Returns:
        Whole numbers, float64.

    Example:
        >>> count_quantile(torch.tensor([0.05, 0.5, 0.95]), torch.tensor(10.0))
        tensor([ 5., 10., 15.], dtype=torch.float64)
        >>> count_quantile(torch.tensor([0.05, 0.5, 0.95]), torch.tensor(10.0), 0.5)
        tensor([ 1.,  8., 25.], dtype=torch.float64)
    """
    numbers = [torch.as_tensor(t, dtype=torch.float64) for t in (u, mean, dispersion)]
    shape = torch.broadcast_shapes(*(t.shape for t in numbers))
    p, m, d = (np.ascontiguousarray(t.expand(shape).reshape(-1).cpu().numpy()) for t in numbers)
    found = np.zeros(p.shape)
    left = _by_steps(p, m, d, found)
    if len(left):
        found[left] = _by_halving(p[left], m[left], d[left])
    return torch.from_numpy(found).reshape(shape).to(u.device)


def _by_steps(p: np.ndarray, mean: np.ndarray, dispersion: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Add up probabilities from 0 on, p(k + 1) = p(k) μ (1 + d k) / ((k + 1)(1 + d μ)), write what is found, and return
    the places where nothing is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        at_zero = np.where(dispersion > 0, -np.log1p(dispersion * mean) / dispersion, -mean)
    left = np.flatnonzero(mean < FEW)
    m, d = mean[left], dispersion[left]
    term = np.exp(np.where(d > 1e-12, at_zero[left], -m))
    goal, below, ratio = p[left], term.copy(), m / (1 + d * m)
    for k in range(FEW):
        on = below < goal
        if not on.all():
            found[left[~on]] = k
            left, goal, below, term, ratio, d = (t[on] for t in (left, goal, below, term, ratio, d))
        if not len(left):
            break
        term = term * ratio * ((1 + d * k) / (k + 1))
        below += term
    return np.concatenate([left, np.flatnonzero(~(mean < FEW))])


def _by_halving(p: np.ndarray, mean: np.ndarray, dispersion: np.ndarray) -> np.ndarray:
    """Search between bounds, which start at the quantile of a gamma of the same mean and variance."""
    from scipy import special

    spread = 1 + dispersion * mean  # variance over mean
    guess = np.minimum(np.floor(special.gammaincinv(mean / spread, p) * spread), MOST)
    low, high = guess.copy(), guess.copy()  # F(low) < p ≤ F(high) once both are bounds
    step = np.ones_like(guess)
    todo = np.arange(len(p))
    while len(todo):  # down
        low[todo] = np.maximum(low[todo] - step[todo], -1)
        step[todo] *= 2
        reached = _distribution(low[todo], mean[todo], dispersion[todo]) >= p[todo]
        high[todo[reached]] = low[todo[reached]]
        todo = todo[reached & (low[todo] >= 0)]
    step[:] = 1
    todo = np.flatnonzero((_distribution(high, mean, dispersion) < p) & (high < MOST))
    while len(todo):  # up
        low[todo] = high[todo]
        high[todo] += step[todo]
        step[todo] *= 2
        todo = todo[(_distribution(high[todo], mean[todo], dispersion[todo]) < p[todo]) & (high[todo] < MOST)]
    todo = np.flatnonzero(high - low > 1)
    while len(todo):
        middle = np.floor((low[todo] + high[todo]) / 2)
        reached = _distribution(middle, mean[todo], dispersion[todo]) >= p[todo]
        high[todo[reached]], low[todo[~reached]] = middle[reached], middle[~reached]
        between = (high[todo] - low[todo] > 1) & (middle > low[todo] - 1) & (middle < high[todo] + 1)
        todo = todo[between]
    return high


def _distribution(k: np.ndarray, mean: np.ndarray, dispersion: np.ndarray) -> np.ndarray:
    """P(X ≤ k); 0 below 0."""
    from scipy import special

    whole = np.maximum(k, 0)
    narrow = dispersion < 1e-9
    r = 1 / np.where(narrow, 1.0, dispersion)
    found = np.where(narrow, special.gammaincc(whole + 1, mean), special.betainc(r, whole + 1, r / (r + mean)))
    return np.where(k < 0, 0.0, found)
