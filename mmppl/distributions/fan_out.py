"""The points where a latent goes to several readers, whose gradients a rule may combine there instead of their sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

Combine = Callable[[Tensor], Tensor]
"""Turns (..., K, P) gradients of K readers into (..., P)."""


class FanOuts:
    """The latents that were read while `combining` was on, and who read them.

    Args:
        combine: what combines the gradients of the readers of a latent.

    Attributes:
        readers: for each latent that needs a gradient, the names of its readers.
    """

    def __init__(self, combine: Combine) -> None:
        self.combine = combine
        self.readers: list[list[str]] = []
        self._branches: dict[int, tuple[Tensor, dict[str, Tensor], list[str]]] = {}

    def branch(self, z: Tensor, reader: str, readers: Sequence[str]) -> Tensor:
        """The copy of a latent that one reader gets; see `branch`."""
        if id(z) not in self._branches:
            branches: Any = _FanOut.apply(z, self.combine, len(readers))
            self.readers.append([])
            self._branches[id(z)] = z, dict(zip(readers, branches)), self.readers[-1]  # with z, which keeps its id
        _, found, names = self._branches[id(z)]
        names.append(reader)
        return found[reader]


_active: ContextVar[FanOuts | None] = ContextVar("fan_outs", default=None)


@contextmanager
def combining(combine: Combine | None) -> Iterator[FanOuts | None]:
    """Inside, gradients that several decoders (`observe`) or the components of a mixture's density send to one latent
    are combined. Whoever reads a latent sees the same values, and parameters behind it get their own gradients.

    Each index of the axes in front of (B, D), such as a subset or a draw, is combined by itself, over all rows: so
    Javaloy et al. 2022 have it, arXiv:2206.04496, whose code combines the draws of each expert by themselves. Readers
    outside, such as a KL, add their gradients as ever.

    Args:
        combine: what combines the gradients; None: their sum, as without this.

    Yields:
        what is found inside; None without `combine`.

    Example:
        >>> z = torch.tensor([[1.0, 2.0]], requires_grad=True)
        >>> with combining(lambda gradients: gradients.amax(-2)):
        ...     x, y = (branch(z, name, ("x", "y")) for name in ("x", "y"))
        >>> (3 * x + 5 * y + z).sum().backward()
        >>> z.grad
        tensor([[6., 6.]])
    """
    if combine is None:
        yield None
        return
    fan_outs = FanOuts(combine)
    token = _active.set(fan_outs)
    try:
        yield fan_outs
    finally:
        _active.reset(token)


def branch(z: Tensor, reader: str, readers: Sequence[str]) -> Tensor:
    """The copy of a latent that one reader gets: the latent itself unless gradients are being combined.

    Args:
        z: (..., B, D), the same tensor for all that share it.
        reader: who reads it.
        readers: the names of all that might.

    Returns:
        (..., B, D), the same values.
    """
    fan_outs = _active.get()
    return fan_outs.branch(z, reader, readers) if fan_outs is not None and z.requires_grad else z


def for_each(z: Tensor, number: int) -> Tensor:
    """A latent with an axis for readers that are computed together, such as the components of a mixture.

    Args:
        z: (..., B, D).
        number: how many read it.

    Returns:
        (..., number, B, D) while gradients are being combined, else (..., 1, B, D).
    """
    fan_outs = _active.get()
    if fan_outs is None or not z.requires_grad:
        return z.unsqueeze(-3)
    found: Tensor = _Spread.apply(z, fan_outs.combine, number)
    return found


class _FanOut(torch.autograd.Function):
    """A latent → as many views of it, whose gradients are combined."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, combine: Combine, number: int) -> tuple[Tensor, ...]:
        ctx.combine = combine
        ctx.set_materialize_grads(False)
        return tuple(z.view_as(z) for _ in range(number))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        there = [gradient for gradient in gradients if gradient is not None]
        if len(there) < 2:
            return (there[0] if there else None), None, None
        return ctx.combine(torch.stack(there, -3).flatten(-2)).view_as(there[0]), None, None


class _Spread(torch.autograd.Function):
    """A latent with one more axis, along which gradients are combined."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, combine: Combine, number: int) -> Tensor:
        ctx.combine = combine
        return z.unsqueeze(-3).expand(*z.shape[:-2], number, *z.shape[-2:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        size = gradient.shape[-2:]
        return ctx.combine(gradient.flatten(-2)).unflatten(-1, size), None, None
