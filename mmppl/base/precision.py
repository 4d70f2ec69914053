"""How the CPU computes float32 matrix products: chosen by a one-time error check and set within a scope."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch
from torch import Tensor

MatmulPath = Literal["default", "onednn"]
ERROR_LIMIT = 2e-6  # relative; float32 products of length 1,024 are at 2e-7 to 8e-7, products rounded to bf16 at 2e-3


@cache
def probe_matmul() -> MatmulPath:
    """Measure which way of computing float32 matrix products is right on this machine.

    PyTorch's setting `mkldnn.matmul.fp32_precision = "bf16"` computes in float32 on CPUs that have AVX-512 but not AMX,
    and can be twice as fast as the default there. On other CPUs it rounds to bfloat16.

    Returns:
        "onednn" where that setting computes in float32, "default" where it rounds or does not exist.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.backends.mkldnn, "matmul"):
        return "default"
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 256, 1024, generator=generator)
    exact = a.double() @ b.double().T
    with matmul_precision("onednn"):
        error = ((a @ b.T).double() - exact).norm() / exact.norm()
    return "onednn" if error.item() < ERROR_LIMIT else "default"


def current_matmul() -> MatmulPath:
    """Return the way in which matrix products are computed now."""
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    return "onednn" if matmul is not None and matmul.fp32_precision == "bf16" else "default"


@contextmanager
def matmul_precision(path: MatmulPath) -> Iterator[None]:
    """Compute matrix products in one way inside a `with` block, and restore the caller's setting after it.

    Args:
        path: what `probe_matmul` has returned.
    """
    if path == "default":
        yield
        return
    before = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before  # type: ignore[attr-defined]


def full_precision(t: Tensor) -> Tensor:
    """Return half-precision numbers, such as the outputs of networks under autocast, as float32.

    Products of experts, densities and KLs are computed in float32. Numbers of other types are returned as they are.
    """
    return t.float() if t.dtype in (torch.bfloat16, torch.float16) else t
