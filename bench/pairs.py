"""MMD² with its gradients against whole matrices of distances."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmppl.kernels.mmd import mmd2, rbf

from .case import Case, apart

TILE = (256, 1024)


def whole(distances: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor, variances: list[float]) -> Tensor:
    """MMD² (V-statistic) by N×N matrices, as one would write it by hand.

    Args:
        distances: returns the matrix of squared distances.
        x: (N, D).
        y: (N, D).
        variances: σ² of the RBF kernels, whose mean is taken.

    Returns:
        A scalar.
    """

    def mean(a: Tensor, b: Tensor) -> Tensor:
        r2 = distances(a, b)
        return torch.stack([torch.exp(r2 / (-2 * v)).mean() for v in variances]).mean()

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def cdist(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances by `torch.cdist`."""
    return torch.cdist(a, b).square()


def addmm(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances by one matrix product."""
    squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1)
    return torch.addmm(squares, a, b.T, alpha=-2).clamp_min(0)


def samples(rows: int, size: int, device: str = "cpu", offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """Draw two samples (N, D) of different means, which want gradients.

    Args:
        rows: N.
        size: D.
        device: "cpu" or "cuda".
        offset: is added to both.

    Returns:
        The samples.
    """
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, rows, size, generator=generator).to(device)
    return (x + offset).requires_grad_(), (y + 0.1 + offset).requires_grad_()


def gradient_error(rows: int, offset: float, distances: Callable[[Tensor, Tensor], Tensor] | None = None) -> float:
    """Compute the relative error of the gradient of MMD² for x in float32 against float64.

    Args:
        rows: the size of the samples.
        offset: by which the data are shifted.
        distances: of `whole`; None: ours.

    Returns:
        The error.
    """
    variances = [5.0 * 2.0**i for i in range(5)]
    x, y = samples(rows, 20, offset=offset)
    x64, y64 = (t.detach().double().requires_grad_() for t in (x, y))

    def value(a: Tensor, b: Tensor) -> Tensor:
        return mmd2(a, b, rbf(*variances)) if distances is None else whole(distances, a, b, variances)

    found, truth = torch.autograd.grad(value(x, y), x), torch.autograd.grad(whole(cdist, x64, y64, variances), x64)
    return apart(found, truth)


def case(
    rows: int,
    size: int,
    bandwidths: int,
    rivals: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"torch.cdist": cdist, "addmm": addmm},
    device: str = "cpu",
) -> Case:
    """MMD² of two samples under a mean of RBF kernels of doubling variances, and both gradients.

    Args:
        rows: the size of each sample.
        size: the number of features.
        bandwidths: the number of kernels.
        rivals: name → squared distances of `whole`.
        device: "cpu" or "cuda".

    Returns:
        The case.
    """
    x, y = samples(rows, size, device)
    variances = [size * 2.0 ** (i - 1) for i in range(bandwidths)]
    kernel = rbf(*variances)

    def ours() -> object:
        return torch.autograd.grad(mmd2(x, y, kernel), [x, y])

    def by(distances: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(whole(distances, x, y, variances), [x, y])

    def error() -> tuple[float, float]:
        a, b = (t.detach()[:512].clone().requires_grad_() for t in (x, y))
        a64, b64 = (t.detach().double().requires_grad_() for t in (a, b))
        value, truth = mmd2(a, b, kernel), whole(cdist, a64, b64, variances)
        slopes = torch.autograd.grad(value, [a, b]), torch.autograd.grad(truth, [a64, b64])
        return max(apart(*slopes), abs(float(value.detach()) - float(truth.detach()))), 1e-6  # each mean is at most 1

    block, near, far = (torch.empty(n, m, device=device) for n, m in (TILE, (TILE[0], size), (TILE[1], size)))
    tiles = max(1, round(2 * rows * rows / (TILE[0] * TILE[1])))  # xy, and half of xx and of yy
    left, right = torch.randn(TILE[0], size, device=device), torch.randn(TILE[1], size, device=device)

    def limit() -> None:  # per tile: a product for distances, one exponential per pair, a product for each gradient
        for _ in range(tiles):
            torch.mm(left, right.T, out=block)
            block.neg_().exp_()
            torch.mm(block, right, out=near)
            torch.mm(block.T, left, out=far)

    named = {name: by(distances) for name, distances in rivals.items()}
    return Case("MMD² fwd+bwd", f"N={rows} D={size} bandwidths={bandwidths}", ours, named,
                limit, error)  # fmt: skip
