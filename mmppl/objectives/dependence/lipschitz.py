"""What keeps a critic's Lipschitz constant at 1: spectral norms, a penalty on its gradient, or small weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

Lipschitz = Literal["spectral", "penalty", "clip"]
PENALTY = 10.0  # weight of the gradient penalty
LARGEST = 0.01  # of a weight, where weights are clipped


class SpectralLinear(nn.Linear):
    """x ↦ W x / ‖W‖₂ + b, which stretches no difference of inputs.

    In training ‖W‖₂ is followed by one power iteration per call, and exact (by singular values) outside of it.

    Args:
        inputs: the size of the input.
        outputs: the size of the output.

    Source: Miyato et al. 2018, arXiv:1802.05957.

    Example:
        >>> layer = SpectralLinear(4, 3).eval()
        >>> round(float(torch.linalg.matrix_norm(layer.normalised(), 2)), 5)
        1.0
    """

    left: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("left", normalize(torch.ones(outputs) + 0.1 * torch.arange(outputs), dim=0))

    def normalised(self) -> Tensor:
        """W / ‖W‖₂, (outputs, inputs)."""
        if not self.training:
            return self.weight / torch.linalg.matrix_norm(self.weight, 2)
        with torch.no_grad():
            right = normalize(self.weight.mT @ self.left, dim=0)
            self.left.copy_(normalize(self.weight @ right, dim=0))
        return self.weight / torch.dot(self.left.clone(), self.weight @ right)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.normalised(), self.bias)


def gradient_penalty(
    network: Callable[[Tensor], Tensor], joint: Tensor, product: Tensor, share: Tensor, rows: Tensor | None = None
) -> Tensor:
    """mean (‖∇T(x̂)‖ − 1)², x̂ = ε · joint + (1 − ε) · product, row by row: the constant is near 1, not at most 1.

    Args:
        network: (B, inputs) → (B, 1).
        joint: (B, inputs) joint rows.
        product: (B, inputs) rows of the product.
        share: (B, 1) ε, uniform in (0, 1).
        rows: (B,) bool, those that count; None: all.

    Returns:
        A scalar that can be differentiated in the weights alone.

    Source: Gulrajani et al. 2017, arXiv:1704.00028.
    """
    with torch.enable_grad():
        between = torch.lerp(product.detach(), joint.detach(), share).requires_grad_()
        (slope,) = torch.autograd.grad(network(between).sum(), between, create_graph=True)
    apart = (slope.square().sum(-1).clamp_min(1e-12).sqrt() - 1).square()
    if rows is None:
        return apart.mean()
    return torch.where(rows, apart, 0.0).sum() / rows.sum().clamp_min(1)


class ClippedLinear(nn.Linear):
    """x ↦ clip(W) x + clip(b), with numbers in [−.01, .01]: some finite Lipschitz constant, mostly far below 1.

    Gradients pass as if nothing were clipped, so that a number may come back from beyond.

    Args:
        inputs: the size of the input.
        outputs: the size of the output.

    Source: Arjovsky, Chintala & Bottou 2017, arXiv:1701.07875.

    Example:
        >>> layer = ClippedLinear(4, 3)
        >>> bool(layer(torch.ones(1, 4)).abs().max() <= 5 * 0.01 + 1e-6)
        True
    """

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (p + (p.clamp(-LARGEST, LARGEST) - p).detach() for p in (self.weight, self.bias))
        return linear(x, weight, bias)
