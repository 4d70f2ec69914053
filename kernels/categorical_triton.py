"""Categorical log-density in Triton, one position at a time: its logits are read once for maximum and sum of
exponentials.

Unlike in C, a code that is not a class raises no error, since that would have to wait for the GPU: the row's value and
its gradient are NaN.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .codegen.primitives_triton import Configurations, accumulated, as_bytes, configuration, countable, wide

NUMBERS = 1024  # logits that a program of WARPS holds at once
WARPS = 8


@triton.jit
def _positions(logits, codes, mask, P, L, K, ROWS: tl.constexpr):
    """For positions [ROWS]: their numbers, whether they exist and are not masked, their codes, whether these are
    classes, and where their logits begin.
    """
    p = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = p < P
    kept = inside
    if mask is not None:
        kept = kept & (tl.load(mask + p // L, mask=inside, other=0) != 0)
    code = tl.load(codes + p, mask=kept, other=0)
    return p, inside, kept, code, (code >= 0) & (code < K), logits + p.to(tl.int64) * K


@triton.jit
def _peak_and_mass(row, kept, K, sums: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """For rows of K logits [ROWS]: a number m, the maximum if it is finite, and the sum of exp(logit - m)."""
    peak, mass = tl.full([ROWS], float("-inf"), sums), tl.zeros([ROWS], sums)
    for start in range(0, K, BLOCK):
        k = start + tl.arange(0, BLOCK)[None, :]
        a = wide(tl.load(row[:, None] + k, mask=kept[:, None] & (k < K), other=float("-inf")))
        before = peak
        peak = tl.maximum(peak, tl.max(a, 1))
        off = tl.where(peak == float("-inf"), 0.0, peak)  # no class is possible so far: no NaN from -inf - -inf
        mass = mass * tl.exp(before - off) + tl.sum(tl.exp(a - off[:, None]), 1)
    return tl.where(peak == float("-inf"), 0.0, peak), mass


@triton.jit
def _forward_kernel(logits, codes, mask, out, P, L, K, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Writes out (P): one number per position."""
    p, inside, kept, code, valid, row = _positions(logits, codes, mask, P, L, K, ROWS)
    peak, mass = _peak_and_mass(row, kept, K, out.dtype.element_ty, ROWS, BLOCK)
    chosen = wide(tl.load(row + code, mask=kept & valid, other=0.0))
    value = tl.where(valid, chosen - peak - tl.log(mass), float("nan"))
    tl.store(out + p, tl.where(kept, value, 0.0), mask=inside)


@triton.jit
def _backward_kernel(g, logits, codes, mask, slope, P, L, K, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Writes slope (P, K): g at the code's place, minus g times the probabilities."""
    p, inside, kept, code, valid, row = _positions(logits, codes, mask, P, L, K, ROWS)
    w = tl.where(valid, wide(tl.load(g + p // L, mask=inside, other=0.0)), float("nan"))
    peak, mass = _peak_and_mass(row, kept, K, w.dtype, ROWS, BLOCK)
    share = w / mass
    for start in range(0, K, BLOCK):
        k = start + tl.arange(0, BLOCK)[None, :]
        there = inside[:, None] & (k < K)
        a = wide(tl.load(row[:, None] + k, mask=kept[:, None] & (k < K), other=0.0))
        s = tl.where(k == code[:, None], w[:, None], 0.0) - share[:, None] * tl.exp(a - peak[:, None])
        tl.store(slope + (p.to(tl.int64) * K)[:, None] + k, tl.where(kept[:, None], s, 0.0), mask=there)


def forward(logits: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
    """The log-density of each row.

    Args:
        logits: (R, L, K), contiguous.
        codes: (R, L) int64.
        mask: (R,), or None.

    Returns:
        (R,), NaN where a code is not a class.
    """
    rows, length, classes = logits.shape
    out = logits.new_empty(rows, length, dtype=accumulated(logits))
    _launch(_forward_kernel, [logits, codes.contiguous(), as_bytes(mask), out], logits.shape)
    return out.sum(-1)


def backward(g: Tensor, logits: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
    """The gradient of Σ g·forward for the logits.

    Args:
        g: (R,).
        logits: (R, L, K), contiguous.
        codes: (R, L) int64.
        mask: (R,), or None.

    Returns:
        (R, L, K).
    """
    slope = torch.empty_like(logits)
    _launch(_backward_kernel, [g, logits, codes.contiguous(), as_bytes(mask), slope], logits.shape)
    return slope


def _launch(kernel: Any, tensors: list[Tensor | None], shape: torch.Size) -> None:
    rows, length, classes = shape
    countable("categorical", rows * length)
    table = _table(classes)
    kernel[(triton.cdiv(rows * length, table["ROWS"]),)](*tensors, rows * length, length, classes, **table)


def _table(classes: int) -> dict[str, int]:
    """The constants and the number of warps for K classes."""
    block = min(NUMBERS, triton.next_power_of_2(max(classes, 1)))
    return {"ROWS": NUMBERS // block, "BLOCK": block, "num_warps": WARPS}


def aot() -> Configurations:
    """The configurations for one class, a few and many, with a mask and without."""
    types = {"codes": "*i64", "mask": "*u8", "P": "i32", "L": "i32", "K": "i32"}
    ones = dict.fromkeys("PLK", 1)  # at a launch, a size of 1 is a constant
    narrow = types | {"logits": "*bf16", "slope": "*bf16"}
    cases: list[tuple[int, dict[str, str], dict[str, Any]]] = [
        (1, types, ones),
        (10, types, {"L": 1}),
        (30000, narrow, {"mask": None}),
    ]
    kernels = (_forward_kernel, _backward_kernel)
    return [configuration(kernel, _table(k), named, fixed) for kernel in kernels for k, named, fixed in cases]
