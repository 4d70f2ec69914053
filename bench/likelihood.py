"""Log-densities with their gradients against PyTorch's distributions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributions as dist
from torch import Tensor

from mmppl.kernels.categorical import categorical_log_density
from mmppl.kernels.likelihood import bernoulli_log_density, laplace_log_density

from .case import Case, apart

LEAD = (7, 256)  # subsets, rows
SCALE = 0.75


def cases(device: str = "cpu", lead: tuple[int, int] = LEAD) -> list[Case]:
    """Bernoulli, Laplace and Categorical on the features of the step.

    Args:
        device: "cpu" or "cuda".
        lead: the number of subsets and of rows.

    Returns:
        The cases.
    """
    generator = torch.Generator().manual_seed(0)
    logits, loc, tokens = (
        torch.randn(*lead, n, generator=generator).to(device).requires_grad_() for n in (784, 3072, 8 * 71)
    )
    image = torch.rand(lead[1], 784, generator=generator).round().to(device)
    photo = torch.rand(lead[1], 3072, generator=generator).to(device)
    text = torch.randint(71, (lead[1], 8), generator=generator).to(device)
    log_scale, scale = float(torch.tensor(SCALE).log()), torch.tensor(SCALE, device=device)  # copied once, not per call
    return [
        _case("Bernoulli", logits, lambda o: bernoulli_log_density(o, image.to(o.dtype)),
              lambda o: dist.Bernoulli(logits=o).log_prob(image.to(o.dtype)).sum(-1)),
        _case("Laplace", loc, lambda o: laplace_log_density(photo.to(o.dtype), o, log_scale),
              lambda o: dist.Laplace(o, scale.to(o.dtype)).log_prob(photo.to(o.dtype)).sum(-1)),
        _case("Categorical 8×71", tokens, lambda o: categorical_log_density(o.unflatten(-1, (8, 71)), text),
              lambda o: dist.Categorical(logits=o.unflatten(-1, (8, 71))).log_prob(text).sum(-1)),
    ]  # fmt: skip


def _case(name: str, output: Tensor, ours: Callable[[Tensor], Tensor], eager: Callable[[Tensor], Tensor]) -> Case:
    given = torch.randn(output.shape[:-1], generator=torch.Generator().manual_seed(1)).to(output.device)

    def run(density: Callable[[Tensor], Tensor], at: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
        value = density(at)
        return value, *torch.autograd.grad(value, at, slope)

    def error() -> tuple[float, float]:
        exact = output.detach().double().requires_grad_()
        return apart(run(ours, output, given), run(eager, exact, given.double())), 1e-6

    kept = torch.empty_like(output)

    def limit() -> None:  # forward: the output in; backward: the output in, its gradient out
        output.detach().sum()
        kept.copy_(output.detach())

    shape = "S={} B={} D={}".format(*output.shape)
    rivals = {"torch.distributions": lambda: run(eager, output, given)}
    return Case(f"{name} log-density, fwd+bwd", shape, lambda: run(ours, output, given), rivals, limit, error)
