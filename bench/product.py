"""Product of experts, sample and KL, forward and backward, against what broadcasting writes to memory."""

from __future__ import annotations

import torch
from torch import Tensor

from mmppl.kernels.poe import gaussian_product_sample
from mmppl.modalities.subsets import all_subsets

from .case import Case, apart

SHAPES = ((3, 7, 256, 20), (5, 31, 256, 64), (8, 255, 1024, 64))  # M, S, B, D


def broadcast(loc: Tensor, log_var: Tensor, seen: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The product as one would write it by hand: every expert of every subset at once.

    Args:
        loc: (M, B, D).
        log_var: (M, B, D).
        seen: (S, B, M) bool.
        noise: (S, B, D).

    Returns:
        Draws and KL divergences.
    """
    precision = torch.exp(-log_var) * seen.movedim(-1, 1).unsqueeze(-1)  # (S, M, B, D)
    total = 1 + precision.sum(1)
    mean = (precision * loc).sum(1) / total
    log_variance = -torch.log(total)
    kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(-1)
    return mean + torch.exp(0.5 * log_variance) * noise, kl


def case(shape: tuple[int, int, int, int], device: str = "cpu") -> Case:
    """Draws and KL of every subset of M experts, with the gradients for all means and log-variances.

    Args:
        shape: M, S, B and D.
        device: "cpu" or "cuda".

    Returns:
        The case.
    """
    experts, subsets, rows, size = shape
    generator = torch.Generator().manual_seed(0)
    loc, log_var, noise = (
        torch.randn(lead, rows, size, generator=generator).to(device) for lead in (experts, experts, subsets)
    )
    seen = all_subsets(experts)[:subsets, None].expand(-1, rows, -1).contiguous().to(device)
    given = torch.randn(noise.shape, generator=generator).to(device), torch.ones(subsets, rows, device=device)
    inputs = [loc.requires_grad_(), log_var.requires_grad_()]

    def ours() -> tuple[Tensor, ...]:
        return torch.autograd.grad(gaussian_product_sample(loc, log_var, seen, noise), inputs, given)

    def eager() -> tuple[Tensor, ...]:
        return torch.autograd.grad(broadcast(loc, log_var, seen.float(), noise), inputs, given)

    def error() -> tuple[float, float]:
        some = slice(None, 32)
        exact = [t.detach()[:, some].double().requires_grad_() for t in inputs]
        of_some = given[0][:, some].double(), given[1][:, some].double()
        outputs = broadcast(exact[0], exact[1], seen[:, some].double(), noise[:, some].double())
        truth = [*outputs, *torch.autograd.grad(outputs, exact, of_some)]
        found = gaussian_product_sample(loc[:, some], log_var[:, some], seen[:, some], noise[:, some])
        return apart([*found, *(t[:, some] for t in ours())], truth), 2e-6

    copies = [torch.empty_like(noise) for _ in range(2)]

    def limit() -> None:  # forward: noise in, draws out; backward: noise and the draws' gradient in
        copies[0].copy_(noise)
        copies[1].copy_(given[0])

    shown = "M={} S={} B={} D={}".format(*shape)
    return Case("product of experts, sample+KL, fwd+bwd", shown, ours, {"eager broadcast": eager}, limit, error)
