"""Stable scalar functions on the GPU, made from the few that Triton has everywhere (its interpreter included)."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

Configurations = list[tuple[Any, dict[str, str], dict[str, Any], dict[str, int]]]
"""(kernel, signature, constants, options) of everything that a module can launch, for a check that needs no GPU."""


@triton.jit
def log1p(e):
    u = 1.0 + e
    d = u - 1.0
    return tl.where(d == 0.0, e, tl.log(u) * e / tl.where(d == 0.0, 1.0, d))


@triton.jit
def sigmoid(a):
    return 1.0 / (1.0 + tl.exp(-a))


@triton.jit
def softplus(a):
    return tl.where(a > 0.0, a, 0.0) + log1p(tl.exp(-tl.abs(a)))


@triton.jit
def tanh(a):
    e = tl.exp(-2.0 * tl.abs(a))
    t = (1.0 - e) / (1.0 + e)
    return tl.where(a < 0.0, -t, t)


@triton.jit
def sign(a):
    return tl.where(a > 0.0, 1.0, tl.where(a < 0.0, -1.0, 0.0 * a))


@triton.jit
def clip(a, low, high):
    return tl.where(a < low, low, tl.where(a > high, high, a))


@triton.jit
def inside(a, low, high):
    return tl.where((a >= low) & (a <= high), 1.0, 0.0)


@triton.jit
def wide(a):
    """In the precision of sums: float64 stays, all else becomes float32."""
    return a if a.dtype == tl.float64 else a.to(tl.float32)


@triton.jit
def _trial_kernel(a, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(a + i, softplus(tl.load(a + i)))


def trial(device: torch.device) -> None:
    """Compile and run a small kernel on a GPU, and let its errors through.

    Args:
        device: the GPU.

    Raises:
        RuntimeError: the result is wrong.
    """
    a = torch.zeros(16, device=device)
    _trial_kernel[(1,)](a, BLOCK=16)
    if not torch.allclose(a, torch.full_like(a, 0.6931472)):
        raise RuntimeError("a trial kernel gave a wrong result")


def accumulated(t: Tensor) -> torch.dtype:
    """Return the precision of sums over a tensor's numbers."""
    return torch.promote_types(t.dtype, torch.float32)


def countable(where: str, rows: int) -> None:
    """Check that a kernel can number rows with 32 bits.

    Args:
        where: the function that the error message names.
        rows: the number of rows.

    Raises:
        ValueError: there are too many.
    """
    if rows >= 2**31:
        raise ValueError(f"{where}: {rows} rows; at most {2**31 - 1} at a time. Split the draws or the batch.")


def as_bytes(mask: Tensor | None) -> Tensor | None:
    """Return a mask as kernels read it; None for None."""
    return None if mask is None else mask.view(torch.uint8)


def configuration(kernel: Any, table: dict[str, int], types: dict[str, str], constants: dict[str, Any]) -> Any:
    """Make one of `Configurations` from a launch table.

    Args:
        kernel: the kernel.
        table: constants, and "num_warps".
        types: name → type of an argument; a tensor without a type is float32.
        constants: further constants.

    Returns:
        (kernel, signature, constants, options).
    """
    fixed = {name: value for name, value in {**table, **constants}.items() if name in kernel.arg_names}
    signature = {n: "constexpr" if n in fixed else types.get(n, "*fp32") for n in kernel.arg_names}
    return kernel, signature, fixed, {"num_warps": table["num_warps"]}


def aot() -> Configurations:
    """The configurations that this module launches."""
    return [configuration(_trial_kernel, {"BLOCK": 16, "num_warps": 4}, {}, {})]
