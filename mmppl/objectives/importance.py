"""Bounds on the evidence from importance weights: which of them are averaged before the logarithm is taken."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Bound = Literal["elbo", "iwae", "looser"]


def log_mean(log_weights: Tensor, active: Tensor, kind: Bound) -> tuple[Tensor, Tensor]:
    """A lower bound on ln p of each row from K weights in each of its n strata, in nats.

    Args:
        log_weights: (K, S, B), ln w.
        active: (S, B) bool, which strata are a row's own.
        kind: "elbo", mean of ln w; "looser", mean over the strata of ln of the mean over K; "iwae", ln of the mean over
            all n·K. Each is at least the one before.
    Returns:
        (B,), 0 where a row has no stratum; and (K, S, B), each weight over the sum of those that it is averaged with.
    Source: Burda et al. 2016, arXiv:1509.00519; with strata, "looser" is the objective of Shi et al. 2019,
        arXiv:1911.03393, and "iwae" that of Morningstar et al. 2020, arXiv:2003.01687.
    """
    draws, own = len(log_weights), active.sum(0)
    if kind == "iwae":
        kept = torch.where(active | (own == 0), log_weights, -torch.inf)  # all −inf has no gradient
        total = torch.logsumexp(kept, (0, 1))
        return torch.where(own > 0, total - (draws * own.clamp_min(1)).log(), 0.0), (kept - total).exp()
    total = log_weights if kind == "elbo" else torch.logsumexp(log_weights, 0, keepdim=True)
    of_each = total.mean(0) if kind == "elbo" else total[0] - math.log(draws)
    return torch.where(active, of_each, 0.0).sum(0) / own.clamp_min(1), (log_weights - total).exp()
