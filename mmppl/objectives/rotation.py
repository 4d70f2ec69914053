"""The rotation of the factors of group factor analysis at which its variational bound is highest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

STEPS = 8  # of L-BFGS in each pass


@dataclass(frozen=True)
class Loaded:
    """What the bound needs to know of the weights of one view.

    Args:
        d: its features.
        gram: (D, D) Σ_j E w_j w_jᵀ.
        shape: a of the prior Gamma(a, b) of the precision of its weights for a factor.
        rate: b of it.
    """

    d: int
    gram: Tensor
    shape: float
    rate: float


def best_rotation(moments: Tensor, rows: int, views: Sequence[Loaded]) -> Tensor:
    """Find R that raises the bound when z becomes R^-1 z and every W becomes W R, for which x stays the same.

    The bound changes by −½ tr(R^-1 Σ E z zᵀ R^-T) + (Σ_m d_m − n) ln |R| − Σ_m (a + d_m/2) Σ_k ln(b + ½ r_kᵀ G_m r_k),
    if the precisions α are at their optimum throughout. R need not be orthogonal.

    Args:
        moments: (D, D) Σ_i E z_i z_iᵀ.
        rows: n.
        views: the weights of each view.

    Returns:
        (D, D) R; the identity where a few steps of L-BFGS find nothing better.

    Source: Virtanen, Klami & Kaski 2011, "Bayesian CCA via group sparsity" (ICML), sec. 3.3.
    """
    from scipy.optimize import minimize

    size, scale = len(moments), sum(view.d for view in views) - rows
    total = moments.cpu().numpy()
    parts = [(view.shape + view.d / 2, view.rate, view.gram.cpu().numpy()) for view in views]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        r = flat.reshape(size, size)
        sign, log_det = np.linalg.slogdet(r)
        if not sign > 0:
            return np.inf, np.zeros_like(flat)
        inverse = np.linalg.inv(r)
        white = inverse @ total @ inverse.T
        value, slope = white.trace() / 2 - scale * log_det, -inverse.T @ white - scale * inverse.T
        for weight, rate, gram in parts:
            of_factors = gram @ r
            rates = rate + (of_factors * r).sum(0) / 2
            value += weight * np.log(rates).sum()
            slope += weight * of_factors / rates
        return value, slope.ravel()

    start = np.eye(size).ravel()
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=dict(maxiter=STEPS))
    better = np.isfinite(found.fun) and found.fun < loss(start)[0]
    return torch.as_tensor(found.x if better else start, device=moments.device).reshape(size, size)
