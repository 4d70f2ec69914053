"""Which matrix-product path the CPU takes in float32, chosen by a one-time error check and scoped."""

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
    """ "onednn" where PyTorch's `mkldnn.matmul.fp32_precision = "bf16"` really computes in float32, as it does on CPUs
    with AVX-512 and no AMX (where it can be twice as fast as the default); "default" where it rounds, or is absent."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.backends.mkldnn, "matmul"):
        return "default"
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 256, 1024, generator=generator)
    exact = a.double() @ b.double().T
    with matmul_precision("onednn"):
        error = ((a @ b.T).double() - exact).norm() / exact.norm()
    return "onednn" if error.item() < ERROR_LIMIT else "default"


def current_matmul() -> MatmulPath:
    """The path that products take now."""
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    return "onednn" if matmul is not None and matmul.fp32_precision == "bf16" else "default"


@contextmanager
def matmul_precision(path: MatmulPath) -> Iterator[None]:
    """Matrix products inside take `path`; the caller's setting is restored."""
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
    """Half precision, in which networks end under autocast, as float32: fusion, densities and KLs stay there."""
    return t.float() if t.dtype in (torch.bfloat16, torch.float16) else t
