"""A check of a kernel on a GPU: how far it is from float64, compared with PyTorch in the same precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

ULPS = 8  # of the largest number; allowed in addition to twice eager's error, which may happen to be 0
Call = Callable[..., Any]


class Check(NamedTuple):
    """A kernel and the same by hand, which are called alike: with `leaves`, which want gradients, then with `fixed`.

    Tensors are on the CPU; floating-point ones are converted to the precision of the check. Calls return a tensor or
    several.
    """

    name: str
    shape: str
    ours: Call
    eager: Call
    leaves: Sequence[Tensor]
    fixed: Sequence[Tensor | None] = ()
    stored: torch.dtype = torch.float32  # dtype of the first leaf

    def against_float64(self, device: str) -> dict[str, Any]:
        """Compare values and gradients with float64 on a device; what `worst` returns."""

        def rounded(t: Tensor | None, dtype: torch.dtype = torch.float32) -> Any:
            if t is None:
                return None
            return t.to(device, dtype if t.is_floating_point() else t.dtype, copy=True)

        leaves = [rounded(t, self.stored if i == 0 else torch.float32) for i, t in enumerate(self.leaves)]
        fixed = [rounded(t) for t in self.fixed]
        exact = [[t if t is None or not t.is_floating_point() else t.double() for t in ts] for ts in (leaves, fixed)]
        got, theirs = results(self.ours, leaves, fixed), results(self.eager, leaves, fixed)
        return worst(got, theirs, results(self.eager, *exact))


def results(call: Call, leaves: Sequence[Tensor], fixed: Sequence[Tensor | None]) -> list[Tensor]:
    """Compute the outputs of a call, and the gradients for `leaves` of a randomly weighted sum of them."""
    inputs = [t.detach().requires_grad_() for t in leaves]
    outputs = call(*inputs, *fixed)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = [w.to(o) for w, o in zip(random(0, *(o.shape for o in outputs)), outputs)]
    return [o.detach() for o in (*outputs, *torch.autograd.grad(outputs, inputs, weights))]


def worst(got: Sequence[Tensor], eager: Sequence[Tensor], exact: Sequence[Tensor]) -> dict[str, Any]:
    """Find the tensor with the least room between its error and what is allowed: twice eager's error and some ulps.

    Returns:
        The largest error of that tensor, eager's, and what is allowed. Errors are NaN where a shape is wrong or a
        number is not finite.
    """
    found = []
    for ours, theirs, truth in zip(got, eager, exact, strict=True):
        unit, largest = torch.finfo(ours.dtype).eps, float(truth.abs().max()) if truth.numel() else 0.0
        of_eager = _furthest(theirs, truth)
        allowed = 2 * of_eager + ULPS * unit * (1 + largest)
        error = _furthest(ours, truth) if ours.shape == truth.shape else math.nan
        found.append({"error": error, "eager_error": of_eager, "allowed": allowed})
    return max(found, key=lambda one: math.inf if math.isnan(one["error"]) else one["error"] / one["allowed"])


def _furthest(found: Tensor, truth: Tensor) -> float:
    return float((found.double() - truth).abs().max()) if truth.numel() else 0.0


def random(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Draw standard normal tensors, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def chance(seed: int, share: float, *shape: int) -> Tensor:
    """Draw bools that are True with a given probability."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share
