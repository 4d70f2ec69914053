"""Log-densities of observations given decoder outputs, reduced over the features in one go.

The observation is broadcast over subsets and draws in front of the batch axis; scalar constants stay scalars.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bernoulli_log_density(logits: Tensor, x: Tensor) -> Tensor:
    """Σ_d x ln p + (1 − x) ln(1 − p), p = sigmoid(logits), in nats.

    Args: logits (..., B, D); x (B, D) in [0, 1] (grey values count as probabilities: then not a normalised density).
    Returns: (..., B).
    """
    x, logits = torch.broadcast_tensors(x, logits)
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


def normal_log_density(x: Tensor, loc: Tensor, log_var: Tensor | float) -> Tensor:
    """Σ_d ln N(x; loc, e^log_var) in nats.

    Args: x (B, D); loc (..., B, D); log_var (..., B, D), (D,) or a number.
    Returns: (..., B).
    """
    squares = (x - loc).square()
    size = loc.shape[-1]
    if isinstance(log_var, float):
        return -0.5 * (math.exp(-log_var) * squares.sum(-1) + size * (log_var + math.log(2 * math.pi)))
    if log_var.ndim == 1:
        return -0.5 * ((squares * torch.exp(-log_var)).sum(-1) + log_var.sum() + size * math.log(2 * math.pi))
    return -0.5 * ((squares * torch.exp(-log_var) + log_var).sum(-1) + size * math.log(2 * math.pi))


def laplace_log_density(x: Tensor, loc: Tensor, log_scale: Tensor | float) -> Tensor:
    """Σ_d −|x − loc|/b − ln 2b, b = e^log_scale, in nats.

    Args: x (B, D); loc (..., B, D); log_scale (D,) or a number.
    Returns: (..., B).
    """
    distances = (x - loc).abs()
    size = loc.shape[-1]
    if isinstance(log_scale, float):
        return -(math.exp(-log_scale) * distances.sum(-1) + size * (log_scale + math.log(2)))
    return -((distances * torch.exp(-log_scale)).sum(-1) + log_scale.sum() + size * math.log(2))


def categorical_log_density(logits: Tensor, codes: Tensor) -> Tensor:
    """Σ_l ln softmax(logits_l)[code_l] in nats, over the L positions of a sequence (a label: L = 1).

    Args: logits (..., B, L, K), unnormalised; codes (B, L) integers in [0, K).
    Returns: (..., B).
    """
    codes = codes.expand(logits.shape[:-1]).unsqueeze(-1)
    chosen = logits.gather(-1, codes).squeeze(-1)
    return (chosen - torch.logsumexp(logits, -1)).sum(-1)
