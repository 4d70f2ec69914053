"""What Stirling's formula leaves out of ln Γ, and its derivative, in PyTorch's differentiable operations.

ln Γ(z) = (z − ½) ln z − z + ½ ln 2π + stirling(z). Differences such as ln Γ(x + r) − ln Γ(x + 1) lose all digits of
float32 at x = 10⁶, where each term is 10⁷. Written with `stirling`, which is at most 1/(12 z), the large terms cancel
on paper.

Source: NIST Digital Library of Mathematical Functions, 5.11.1 (the series) and 5.5.1 (the recurrence below NEAR).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

NEAR = 8.0  # from here on the series is exact to the last digit of float64
SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
SLOPES = tuple(-(2 * k + 1) * c for k, c in enumerate(SERIES))


def stirling(z: Tensor) -> Tensor:
    """Compute ln Γ(z) − [(z − ½) ln z − z + ½ ln 2π].

    Args:
        z: positive numbers, of any shape.

    Returns:
        The same shape.

    Example:
        >>> stirling(torch.tensor([1.0, 12.0]))
        tensor([0.0811, 0.0069])
    """
    low, near, far = _parts(z)
    of_near = torch.lgamma(near) - (near - 0.5) * torch.log(near) + near - 0.5 * math.log(2 * math.pi)
    return torch.where(low, of_near, _polynomial(SERIES, far**-2) / far)


def stirling_slope(z: Tensor) -> Tensor:
    """Compute the derivative of `stirling`, ψ(z) − ln z + 1/(2z).

    Args:
        z: positive numbers, of any shape.

    Returns:
        The same shape.

    Example:
        >>> stirling_slope(torch.tensor([1.0, 12.0]))
        tensor([-0.0772, -0.0006])
    """
    low, near, far = _parts(z)
    of_near = torch.digamma(near) - torch.log(near) + 0.5 / near
    return torch.where(low, of_near, _polynomial(SLOPES, far**-2) * far**-2)


def _parts(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where z is below NEAR, and z for the formula of either side, at a harmless number where it is on the other."""
    low = z < NEAR
    return low, torch.where(low, z, 1.0), torch.where(low, NEAR, z)


def _polynomial(coefficients: tuple[float, ...], v: Tensor) -> Tensor:
    total = torch.full_like(v, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * v + coefficient
    return total
