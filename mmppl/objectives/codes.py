"""One code of the codes of several modalities, weighted by how far each is to be trusted, and the prior of that."""

from __future__ import annotations

import torch
from torch import Tensor


def pool_codes(u: Tensor, log_y: Tensor, seen: Tensor) -> Tensor:
    """z = Σ_m y_m u_m / Σ_m y_m over what is seen. From ln y it is exact however small all importances are; what one
    modality alone has is its u, bit for bit.

    Args:
        u: (M, B, D) codes of the modalities.
        log_y: (M, B) logarithms of their importances, at most 0.
        seen: (..., B, M) bool.

    Returns:
        (..., B, D); 0 where nothing is seen.

    Source: "Importance-based Multimodal Autoencoder" (ICLR 2021 submission), sec. 5.3.

    Example:
        >>> u = torch.tensor([[[0.0]], [[4.0]]])
        >>> pool_codes(u, torch.tensor([[0.9], [0.3]]).log(), torch.tensor([[True, True]]))
        tensor([[1.]])
    """

    keep = seen.movedim(-1, 0)
    log_y = log_y.reshape(len(log_y), *[1] * (keep.ndim - 2), -1)
    largest = torch.where(keep, log_y, -torch.inf).amax(0).clamp_min(torch.finfo(log_y.dtype).min).detach()
    y = torch.where(keep, (log_y - largest).clamp_max(0.0).exp(), 0.0)  # of the largest: 1
    share = (y / y.sum(0).clamp_min(1.0)).unsqueeze(-1)
    u = u.reshape(len(u), *[1] * (keep.ndim - 2), *u.shape[1:])
    return torch.where(keep.unsqueeze(-1), share * u, 0.0).sum(0)


def bernoulli_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(Bern(p) ‖ Bern(q)) in nats; finite, and its gradient 0, where p is 0 or 1 in float32.

    Args:
        p: (...) probabilities.
        q: (...) probabilities above 0 and below 1.

    Returns:
        (...).

    Example:
        >>> bernoulli_kl(torch.tensor([0.5, 1.0]), torch.tensor([0.5, 0.9]))
        tensor([0.0000, 0.1054])
    """
    p = p.clamp(1e-7, 1 - 1e-7)
    return p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
