"""Diagonal Gaussians by mean and log-variance: KL divergences and log-density. In float32, log-variances may be as low
as −87; below that the precision overflows.
"""

import math

import torch
from torch import Tensor


def gaussian_kl(loc_q: Tensor, log_var_q: Tensor, loc_p: Tensor, log_var_p: Tensor) -> Tensor:
    """KL(N(loc_q, e^log_var_q) ‖ N(loc_p, e^log_var_p)) in nats, summed over the last axis.

    All arguments broadcast against each other.

    Args:
        loc_q: (..., D) means of the first Gaussian.
        log_var_q: (..., D) its log-variances.
        loc_p: (..., D) means of the second Gaussian.
        log_var_p: (..., D) its log-variances.

    Returns:
        (...).

    Source: ½ Σ [ln v_p − ln v_q + (v_q + (m_q − m_p)²)/v_p − 1]; v_q/v_p is computed as exp of the difference of logs.
    """
    inverse = torch.exp(-log_var_p)
    terms = log_var_p - log_var_q + torch.exp(log_var_q - log_var_p) + (loc_q - loc_p).square() * inverse - 1
    return 0.5 * terms.sum(-1)


def gaussian_kl_standard(loc: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(loc, e^log_var) ‖ N(0, I)) in nats, summed over the last axis: −½ Σ (1 + ln v − m² − v).

    Args:
        loc: (..., D) means.
        log_var: (..., D) log-variances.

    Returns:
        (...).
    """
    return 0.5 * (loc.square() + log_var.exp() - log_var - 1).sum(-1)


def gaussian_log_density(x: Tensor, loc: Tensor, log_var: Tensor) -> Tensor:
    """ln N(x; loc, e^log_var) in nats, summed over the last axis. All arguments broadcast against each other.

    Args:
        x: (..., D).
        loc: (..., D) means.
        log_var: (..., D) log-variances.

    Returns:
        (...).
    """
    return -0.5 * ((x - loc).square() * torch.exp(-log_var) + log_var + math.log(2 * math.pi)).sum(-1)
