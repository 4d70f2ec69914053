"""Dependence of codes in weighted rows, as a term of any loss: by their cross-covariance, or by HSIC."""

from __future__ import annotations

import torch
from torch import Tensor

from ...base.precision import full_precision
from ...kernels.hsic import hsic
from ...kernels.mmd import rbf

LEAST = 1e-8  # of the sum of the weights: below, what is left of the rows counts less and less


def cross_covariance(z: Tensor, u: Tensor, weight: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
    """‖C‖_F², C = Σ_i w_i (z_i − m_z)(u_i − m_u)ᵀ with weights w of sum 1 and weighted means m, for one or several u.

    It is 0 where z and u are uncorrelated in the rows that count, and not in nats: a sum over the D × E covariances,
    in the units of z² u². It is differentiable in z, u and the weights. An importance y makes the weights 1 − y: what
    is left of the covariance is that of the rows that are not trusted.

    Args:
        z: (B, D).
        u: (..., B, E), for each of the leading axes by itself, such as the modalities.
        weight: (..., B), not negative; None: ones. Where they sum to less than 1e-8 (all importances are 1), C is
            scaled down with the sum, to 0, and its gradient is finite.
        observed: (..., B) bool; the other rows do not count, and z and u may hold anything there, NaN included. None:
            all count.

    Returns:
        (...).

    Raises:
        ValueError: the shapes disagree.

    Source: "Importance-based Multimodal Autoencoder" (ICLR 2021 submission), L_corr.

    Example:
        >>> z, u = torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([[1.0], [3.0], [0.0]])
        >>> cross_covariance(z, u, torch.tensor([1.0, 1.0, 0.0]))  # of two rows: (1 · 1)²
        tensor(1.)
    """
    z, u, weight = _of_each("cross_covariance", z, u, weight, observed)
    with torch.autocast(u.device.type, enabled=False):
        share = (weight / weight.sum(-1, keepdim=True).clamp_min(LEAST)).unsqueeze(-1)
        z, u = (t - (share * t).sum(-2, keepdim=True) for t in (z, u))
        return ((share * z).mT @ u).square().sum((-2, -1))


def cross_hsic(z: Tensor, u: Tensor, weight: Tensor | None = None, *, observed: Tensor | None = None) -> Tensor:
    """The same by HSIC: dependence of any form, not of covariances alone, of z and u in weighted rows.

    The kernels are exp(−r²/(2σ²)), σ² the sum of the variances of the rows that are observed, without a gradient. It
    lies in [0, 1], and holds B × B numbers.

    Args:
        z: (B, D).
        u: (..., B, E), for each of the leading axes by itself, such as the modalities.
        weight: (..., B), not negative; None: ones.
        observed: (..., B) bool, as in `cross_covariance`.

    Returns:
        (...); 0 where no weight is left.

    Raises:
        ValueError: the shapes disagree.

    Source: Gretton et al. 2005 (`mmppl.kernels.hsic`).

    Example:
        >>> x = torch.linspace(-1, 1, 50).unsqueeze(-1)
        >>> bool(cross_hsic(x, x.square()) > 0.01), bool(cross_covariance(x, x.square()) < 1e-9)
        (True, True)
    """
    z, u, weight = _of_each("cross_hsic", z, u, weight, observed)
    seen = torch.ones_like(weight, dtype=torch.bool) if observed is None else observed.expand(weight.shape)
    lead = weight.shape[:-1]
    flat = (t.reshape(lead.numel(), *t.shape[len(lead) :]) for t in (z, u, weight, seen))
    found = [hsic(a, b, rbf(_spread(a, s)), rbf(_spread(b, s)), weight=w) for a, b, w, s in zip(*flat)]
    return torch.stack(found).reshape(lead)


def _spread(x: Tensor, seen: Tensor) -> Tensor:
    """Half the mean squared distance of two observed rows: the sum of the variances, positive."""
    with torch.no_grad():
        kept, count = seen.unsqueeze(-1), seen.sum().clamp_min(1)
        apart = torch.where(kept, x - x.sum(0) / count, 0.0)  # what is not observed is 0
        return (apart.square().sum() / count).clamp_min(torch.finfo(x.dtype).tiny)


def _of_each(
    who: str, z: Tensor, u: Tensor, weight: Tensor | None, observed: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(..., B, D), (..., B, E) and (..., B), with zeros where nothing is observed."""
    rows = u.shape[:-1]
    wrong = z.ndim != 2 or u.ndim < 2 or rows[-1] != len(z)
    if wrong or any(t is not None and t.shape[-1:] != rows[-1:] for t in (weight, observed)):
        raise ValueError(
            f"{who}: expected z (B, D), u (..., B, E), weight and observed (..., B); got "
            f"{', '.join(str(tuple(t.shape)) for t in (z, u, weight, observed) if t is not None)}."
        )
    z, u = full_precision(z), full_precision(u)
    weight = torch.ones_like(u[..., 0]) if weight is None else full_precision(weight).expand(rows)
    z = z.expand(*rows, z.shape[-1])
    if observed is None:
        return z, u, weight
    kept = observed.expand(rows)
    z, u = (torch.where(kept.unsqueeze(-1), t, 0.0) for t in (z, u))
    return z, u, torch.where(kept, weight, 0.0)
