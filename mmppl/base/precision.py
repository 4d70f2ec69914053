"""How the CPU computes float32 matrix products: chosen once by error, with AMX by time too, and set within a scope."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor

MatmulPath = Literal["default", "onednn"]
ERROR_LIMIT = 2e-6  # relative; float32 products of length 1,024 are at 2e-7 to 8e-7, products rounded to bf16 at 2e-3


CLEARLY = 0.9  # of oneDNN's time: what the default has to stay below on a CPU with AMX; near a tie the choice is one


@cache
def probe_matmul() -> MatmulPath:
    """Measure which way of computing float32 matrix products is right on this machine.

    PyTorch's setting `mkldnn.matmul.fp32_precision = "bf16"` computes in float32 on CPUs that have AVX-512 but not AMX,
    and can be twice as fast as the default there. On other CPUs it rounds to bfloat16.

    Returns:
        "onednn" where that setting computes in float32, "default" where it rounds or does not exist, or where the CPU
        has AMX and the default is clearly faster.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.backends.mkldnn, "matmul"):
        return "default"
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 256, 1024, generator=generator)
    exact = a.double() @ b.double().T
    with matmul_precision("onednn"):
        error = ((a @ b.T).double() - exact).norm() / exact.norm()
    if not error.item() < ERROR_LIMIT:
        return "default"
    if not _has_amx():
        return "onednn"
    times = {path: _seconds(path, a, b) for path in get_args(MatmulPath)}
    return "default" if times["default"] < CLEARLY * times["onednn"] else "onednn"


def _has_amx() -> bool:
    """The CPU multiplies matrix tiles."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(supported and supported())


def _seconds(path: MatmulPath, a: Tensor, b: Tensor, rounds: int = 7) -> float:
    """The least time of a few products by a path."""
    found = []
    with matmul_precision(path):
        for _ in range(rounds):
            begun = time.perf_counter()
            a @ b.T
            found.append(time.perf_counter() - begun)
    return min(found)


def current_matmul() -> MatmulPath:
    """Return the way in which matrix products are computed now."""
    return "onednn" if matmul_setting() == "bf16" else "default"


@contextmanager
def matmul_precision(path: MatmulPath) -> Iterator[None]:
    """Compute matrix products in one way inside a `with` block, and restore the caller's setting after it.

    Args:
        path: what `probe_matmul` has returned.
    """
    if path == "default":
        yield
        return
    before = matmul_setting()
    matmul_setting("bf16")
    try:
        yield
    finally:
        matmul_setting(before)


def matmul_setting(change: str | None = None) -> str | None:
    """Read PyTorch's setting of the process, or change it.

    Args:
        change: the new value; None leaves it as it is.

    Returns:
        The value before; None where this PyTorch has no such setting.
    """
    matmul: Any = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is None:
        return None
    before = matmul.fp32_precision
    if change is not None:
        matmul.fp32_precision = change
    return before


def full_precision(t: Tensor) -> Tensor:
    """Return half-precision numbers, such as the outputs of networks under autocast, as float32.

    Products of experts, densities and KLs are computed in float32. Numbers of other types are returned as they are.
    """
    return t.float() if t.dtype in (torch.bfloat16, torch.float16) else t
