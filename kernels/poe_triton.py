"""Product of experts on the GPU: a program keeps the experts of a few rows in registers while it goes over subsets.

Everything is computed from log-precisions, less the largest of each feature. The backward pass computes everything
again from the inputs; its sums over subsets have one order, without atomics.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .codegen.primitives_triton import Configurations, accumulated, as_bytes, configuration, wide

COLUMNS = 32  # (row, feature) pairs of a program; with one per lane, sums over experts stay in registers
PER_THREAD = 8  # most experts whose means, log-precisions, shares and two sums a thread keeps in registers
PROGRAMS = 2048  # of a few warps each, enough to fill a large GPU
LONGEST = 64  # subsets that it adds up at most: a sum of 1,023 in float32 loses digits
SHARED = 4  # subsets that a program of the backward pass adds up, if there are as many, before it writes a partial sum


@triton.jit
def _place(B, D, S, chunk, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """This program's block of features, the row and place in (B, D) of its columns [ROWS·BLOCK] and whether they exist,
    and its subsets.
    """
    blocks = tl.cdiv(D, BLOCK)
    column = tl.arange(0, ROWS * BLOCK)
    block = tl.program_id(0) % blocks
    b = tl.program_id(0) // blocks * ROWS + column // BLOCK
    d = block * BLOCK + column % BLOCK
    first = tl.program_id(1).to(tl.int64) * chunk  # S·B·D may be beyond 32 bits
    return block, b, b.to(tl.int64) * D + d, (b < B) & (d < D), first, tl.minimum(first + chunk, S)


@triton.jit
def _experts(loc, log_var, at, inside, size, M: tl.constexpr, EXPERTS: tl.constexpr):
    """Means and log-precisions [EXPERTS, columns], their places in (M, B, D), and whether they exist."""
    m = tl.arange(0, EXPERTS).to(tl.int64)[:, None]
    places, ok = m * size + at[None, :], (m < M) & inside[None, :]
    mu = wide(tl.load(loc + places, mask=ok, other=0.0))
    return mu, -wide(tl.load(log_var + places, mask=ok, other=0.0)), places, ok


@triton.jit
def _fused(mu, log_precision, ok, seen, row, M: tl.constexpr, EXPERTS: tl.constexpr, PRIOR: tl.constexpr):
    """Mean and log-precision of one subset [columns], which experts it sees, and their shares [EXPERTS, columns]."""
    m = tl.arange(0, EXPERTS)[:, None]
    keep = tl.load(seen + row[None, :] * M + m, mask=ok, other=0) != 0
    log_precision = tl.where(keep, log_precision, float("-inf"))
    peak = tl.max(log_precision, 0)
    if PRIOR:
        peak = tl.maximum(peak, 0.0)
    else:
        peak = tl.where(peak == float("-inf"), 0.0, peak)  # nothing seen: no NaN from -inf - -inf
    share = tl.exp(log_precision - peak[None, :])
    mass = tl.sum(share, 0)
    if PRIOR:
        mass += tl.exp(-peak)
    share = share / mass[None, :]
    mean = tl.sum(share * tl.where(keep, mu, 0.0), 0)  # 0 * NaN is NaN: mask both
    return mean, peak + tl.log(mass), keep, share


@triton.jit
def _slopes(mu, mean, keep, share, g_mean, g_log_var):
    """Gradients for the experts [EXPERTS, columns] from those for the product's mean and log-variance [columns]."""
    d_loc = tl.where(keep, share * g_mean[None, :], 0.0)
    return d_loc, tl.where(keep, share * (g_log_var[None, :] - g_mean[None, :] * (mu - mean[None, :])), 0.0)


@triton.jit
def _product_kernel(
    loc, log_var, seen, mean, fused, B, D, S, size, chunk,
    PRIOR: tl.constexpr, M: tl.constexpr, EXPERTS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    _, b, at, inside, first, last = _place(B, D, S, chunk, ROWS, BLOCK)
    mu, log_precision, places, ok = _experts(loc, log_var, at, inside, size, M, EXPERTS)
    for s in range(first, last):
        centre, total, keep, share = _fused(mu, log_precision, ok, seen, s * B + b, M, EXPERTS, PRIOR)
        tl.store(mean + s * size + at, centre, mask=inside)
        tl.store(fused + s * size + at, -total, mask=inside)


@triton.jit
def _product_backward_kernel(
    g_mean, g_log_var, loc, log_var, seen, d_loc, d_log_var, B, D, S, size, chunk,
    PRIOR: tl.constexpr, M: tl.constexpr, EXPERTS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    _, b, at, inside, first, last = _place(B, D, S, chunk, ROWS, BLOCK)
    mu, log_precision, places, ok = _experts(loc, log_var, at, inside, size, M, EXPERTS)
    sum_loc, sum_log_var = tl.zeros_like(mu), tl.zeros_like(mu)
    for s in range(first, last):
        centre, total, keep, share = _fused(mu, log_precision, ok, seen, s * B + b, M, EXPERTS, PRIOR)
        gm = wide(tl.load(g_mean + s * size + at, mask=inside, other=0.0))
        gl = wide(tl.load(g_log_var + s * size + at, mask=inside, other=0.0))
        by_loc, by_log_var = _slopes(mu, centre, keep, share, gm, gl)
        sum_loc += by_loc
        sum_log_var += by_log_var
    part = tl.program_id(1).to(tl.int64) * size * M
    tl.store(d_loc + part + places, sum_loc, mask=ok)
    tl.store(d_log_var + part + places, sum_log_var, mask=ok)


@triton.jit
def _sample_kernel(
    loc, log_var, seen, noise, target_loc, target_log_var, z, kl, B, D, S, size, chunk,
    PRIOR: tl.constexpr, M: tl.constexpr, EXPERTS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes z (S, B, D) and kl (blocks of features, S, B), summed over the features of a block."""
    block, b, at, inside, first, last = _place(B, D, S, chunk, ROWS, BLOCK)
    mu, log_precision, places, ok = _experts(loc, log_var, at, inside, size, M, EXPERTS)
    if target_loc is not None:
        to = wide(tl.load(target_loc + at, mask=inside, other=0.0))
        width = wide(tl.load(target_log_var + at, mask=inside, other=0.0))
    b_row = tl.program_id(0) // tl.cdiv(D, BLOCK) * ROWS + tl.arange(0, ROWS)
    for s in range(first, last):
        mean, total, keep, share = _fused(mu, log_precision, ok, seen, s * B + b, M, EXPERTS, PRIOR)
        if noise is not None:
            drawn = mean + tl.exp(-0.5 * total) * wide(tl.load(noise + s * size + at, mask=inside, other=0.0))
            tl.store(z + s * size + at, drawn, mask=inside)
        if target_loc is None:
            terms = mean * mean + tl.exp(-total) + total - 1.0
        else:
            gap = mean - to
            terms = width + total + tl.exp(-total - width) + gap * gap * tl.exp(-width) - 1.0
        nats = 0.5 * tl.sum(tl.reshape(tl.where(inside, terms, 0.0), [ROWS, BLOCK]), 1)
        tl.store(kl + (block * S + s) * B + b_row, nats, mask=b_row < B)


@triton.jit
def _sample_backward_kernel(
    g_z, g_kl, loc, log_var, seen, noise, target_loc, target_log_var,
    d_loc, d_log_var, d_target_loc, d_target_log_var, B, D, S, size, chunk,
    PRIOR: tl.constexpr, M: tl.constexpr, EXPERTS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    _, b, at, inside, first, last = _place(B, D, S, chunk, ROWS, BLOCK)
    mu, log_precision, places, ok = _experts(loc, log_var, at, inside, size, M, EXPERTS)
    sum_loc, sum_log_var = tl.zeros_like(mu), tl.zeros_like(mu)
    if target_loc is not None:
        to = wide(tl.load(target_loc + at, mask=inside, other=0.0))
        width = wide(tl.load(target_log_var + at, mask=inside, other=0.0))
        sum_to, sum_width = tl.zeros_like(to), tl.zeros_like(to)
    for s in range(first, last):
        mean, total, keep, share = _fused(mu, log_precision, ok, seen, s * B + b, M, EXPERTS, PRIOR)
        k = wide(tl.load(g_kl + s * B + b, mask=inside, other=0.0))
        if target_loc is None:
            gm = k * mean
            gl = 0.5 * k * (tl.exp(-total) - 1.0)
        else:
            gap, narrow, ratio = mean - to, tl.exp(-width), tl.exp(-total - width)
            gm = k * gap * narrow
            gl = 0.5 * k * (ratio - 1.0)
            sum_to -= gm
            sum_width += 0.5 * k * (1.0 - ratio - gap * gap * narrow)
        if noise is not None:
            g = wide(tl.load(g_z + s * size + at, mask=inside, other=0.0))
            gm += g
            gl += 0.5 * g * wide(tl.load(noise + s * size + at, mask=inside, other=0.0)) * tl.exp(-0.5 * total)
        by_loc, by_log_var = _slopes(mu, mean, keep, share, gm, gl)
        sum_loc += by_loc
        sum_log_var += by_log_var
    part = tl.program_id(1).to(tl.int64) * size
    tl.store(d_loc + part * M + places, sum_loc, mask=ok)
    tl.store(d_log_var + part * M + places, sum_log_var, mask=ok)
    if target_loc is not None:
        tl.store(d_target_loc + part + at, sum_to, mask=inside)
        tl.store(d_target_log_var + part + at, sum_width, mask=inside)


def product(loc: Tensor, log_var: Tensor, seen: Tensor, prior: bool) -> tuple[Tensor, Tensor]:
    """The products of all subsets.

    Args:
        loc: (M, B, D), contiguous.
        log_var: (M, B, D), contiguous.
        seen: (S, B, M) bool, contiguous.
        prior: whether N(0, I) counts as one more expert.

    Returns:
        Mean and log-variance, (S, B, D) each.
    """
    mean, fused = (loc.new_empty(*seen.shape[:2], loc.shape[-1]) for _ in range(2))
    plan = _planned(loc, seen, 1)
    plan.run(_product_kernel, [loc, log_var, as_bytes(seen), mean, fused], prior)
    return mean, fused


def product_backward(
    g_mean: Tensor, g_log_var: Tensor, loc: Tensor, log_var: Tensor, seen: Tensor, prior: bool
) -> tuple[Tensor, Tensor]:
    """The gradients of the products for their experts.

    Args:
        g_mean: (S, B, D) gradients for the products' means.
        g_log_var: (S, B, D) gradients for the products' log-variances.
        loc: as in `product`.
        log_var: as in `product`.
        seen: as in `product`.
        prior: as in `product`.

    Returns:
        Gradients for loc and log_var.
    """
    plan = _planned(loc, seen, SHARED)
    d_loc, d_log_var = plan.partial(loc), plan.partial(loc)
    inputs = [g_mean, g_log_var, loc, log_var, as_bytes(seen)]
    plan.run(_product_backward_kernel, [*inputs, d_loc, d_log_var], prior)
    return _total(d_loc, loc), _total(d_log_var, loc)


def sample(
    loc: Tensor, log_var: Tensor, seen: Tensor, noise: Tensor | None, target: Sequence[Tensor], prior: bool
) -> tuple[Tensor, Tensor]:
    """Draws from the products of all subsets, and their KL divergences.

    Args:
        loc: (M, B, D), contiguous.
        log_var: (M, B, D), contiguous.
        seen: (S, B, M) bool, contiguous.
        noise: (S, B, D), or None: nothing is drawn.
        target: mean and log-variance (B, D) of the Gaussian that the KL is taken to; empty: N(0, I).
        prior: whether N(0, I) counts as one more expert.

    Returns:
        Draws (S, B, D), an empty tensor without noise, and KL (S, B).
    """
    z = None if noise is None else torch.empty_like(noise)
    plan = _planned(loc, seen, 1)
    kl = loc.new_empty(plan.blocks, *seen.shape[:2], dtype=accumulated(loc))
    plan.run(_sample_kernel, [loc, log_var, as_bytes(seen), noise, *_pair(target), z, kl], prior)
    return loc.new_empty(0) if z is None else z, _total(kl, loc)


def sample_backward(
    g_z: Tensor | None,
    g_kl: Tensor,
    loc: Tensor,
    log_var: Tensor,
    seen: Tensor,
    noise: Tensor | None,
    target: Sequence[Tensor],
    prior: bool,
) -> list[Tensor]:
    """The gradients of draws and KL divergences for the experts.

    Args:
        g_z: (S, B, D) gradients for the draws; None without noise.
        g_kl: (S, B) gradients for the KL divergences.
        loc: as in `sample`.
        log_var: as in `sample`.
        seen: as in `sample`.
        noise: as in `sample`.
        target: as in `sample`.
        prior: as in `sample`.

    Returns:
        Gradients for loc and log_var, and for those of the target if there is one.
    """
    plan = _planned(loc, seen, SHARED)
    into = [loc, log_var, *target]
    gradients = [plan.partial(t) for t in into]
    inputs = [g_z, g_kl, loc, log_var, as_bytes(seen), noise, *_pair(target)]
    plan.run(_sample_backward_kernel, [*inputs, *gradients[:2], *_pair(gradients[2:])], prior)
    return [_total(slope, t) for slope, t in zip(gradients, into)]


class _Plan(NamedTuple):
    """How a kernel is launched: one program per group of rows, block of features and chunk of subsets."""

    grid: tuple[int, int]
    sizes: tuple[int, int, int, int, int]  # B, D, S, B·D, subsets in a chunk
    blocks: int  # of features
    table: dict[str, int]

    def partial(self, t: Tensor) -> Tensor:
        """Memory in which every chunk of subsets leaves its part of a sum shaped like `t`."""
        return t.new_empty(self.grid[1], *t.shape, dtype=accumulated(t))

    def run(self, kernel: Any, tensors: Sequence[Tensor | None], prior: bool) -> None:
        kernel[self.grid](*tensors, *self.sizes, PRIOR=prior, **self.table)


def _planned(loc: Tensor, seen: Tensor, shared: int) -> _Plan:
    subsets, rows, experts = seen.shape
    width = loc.shape[-1]
    table = _table(experts, width)
    blocks = triton.cdiv(width, table["BLOCK"])
    columns = blocks * triton.cdiv(rows, table["ROWS"])
    chunks = max(1, min(triton.cdiv(subsets, shared), PROGRAMS // max(columns, 1)))
    if shared > 1:
        chunks = max(chunks, triton.cdiv(subsets, LONGEST))
    chunk = max(1, triton.cdiv(subsets, chunks))
    grid = columns, max(1, triton.cdiv(subsets, chunk))
    return _Plan(grid, (rows, width, subsets, rows * width, chunk), blocks, table)


def _table(experts: int, width: int) -> dict[str, int]:
    """The constants and the number of warps for M experts and D features."""
    padded = triton.next_power_of_2(max(experts, 1))
    block = min(COLUMNS, triton.next_power_of_2(max(width, 1)))
    warps = min(16, max(1, padded // PER_THREAD))  # beyond 128 experts, registers spill
    return {"M": experts, "EXPERTS": padded, "ROWS": COLUMNS // block, "BLOCK": block, "num_warps": warps}


def _pair(target: Sequence[Tensor]) -> Sequence[Tensor | None]:
    return target or [None, None]


def _total(parts: Tensor, like: Tensor) -> Tensor:
    return (parts[0] if len(parts) == 1 else parts.sum(0)).to(like.dtype)


def aot() -> Configurations:
    """The configurations for wide and narrow rows, few experts and many, with all optional tensors and with none."""
    kernels = (_product_kernel, _product_backward_kernel, _sample_kernel, _sample_backward_kernel)
    sizes = ("B", "D", "S", "size", "chunk")
    types = {"seen": "*u8"} | dict.fromkeys(sizes, "i32")
    narrow = types | dict.fromkeys(("loc", "log_var", "mean", "fused", "g_mean", "g_log_var", "g_kl"), "*bf16")
    ones = dict.fromkeys(sizes, 1)  # at a launch, a size of 1 is a constant
    optional = ("noise", "z", "g_z", "target_loc", "target_log_var", "d_target_loc", "d_target_log_var")
    cases: list[tuple[int, int, dict[str, str], dict[str, Any]]] = [
        (1, 1, types, {"PRIOR": True, **ones}),
        (3, 100, narrow, {"PRIOR": False, **dict.fromkeys(optional)}),
        (8, 3, types, {"PRIOR": True}),
        (8, 100, types, {"PRIOR": True}),
        (128, 100, types, {"PRIOR": True}),
    ]
    return [configuration(kernel, _table(m, d), named, fixed) for kernel in kernels for m, d, named, fixed in cases]
