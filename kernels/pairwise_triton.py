"""The pairwise template in Triton: a program takes a band of rows of x past blocks of y and sums what each row meets.

The sums go over y only. For every row of x they are Σ_j v_j times k, its derivatives by the parameters, c = 2k' and
c y_j, from which value and gradients follow by sums over rows. The gradient for y comes from a second launch with the
roles swapped. Each program writes rows of its own, so a sum has one order, and nothing of size N×N is ever held.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .codegen.generate import Formula

PROGRAMS = 512  # enough to fill a GPU; where there are more bands of rows, each gets one program
RUN = 8  # blocks summed in the inputs' precision before they join a float64 total: in MMD² such sums cancel
REGISTERS = 128


class Tiles(NamedTuple):
    """How the work is cut into tiles for one number of features."""

    band: int  # rows of x
    block: int  # rows of y at a time
    warps: int
    chunk: int = 0  # features at a time in products; 0: few features, no products


def tiles(features: int) -> Tiles:
    """Choose the tiles for a number of features, so that 0 bytes are spilled and at most REGISTERS registers are used.

    With few features, distances come from differences, which are exact, and the sums Σ c y_j of a row stay in
    registers. A thread takes two rows, so that an element of y, once loaded, serves both; more features leave room for
    fewer pairs. With many features, distances come from products of matrices, a chunk of features at a time (more would
    spill), and the sums gather in memory.
    """
    if features <= 8:
        return Tiles(256, 8, 4)
    if features <= 20:
        return Tiles(256, 4, 4)
    return Tiles(64, 32, 8, 16)


@cache
def cusped(formula: Formula) -> bool:
    """Return whether k has an infinite slope at r2 = 0, which would magnify the rounding of distances from products."""
    ones = [torch.ones(()) for _ in formula.arguments[1:]]
    return not torch.as_tensor(formula.value_and_grad(torch.zeros(()), *ones)[1]).isfinite().item()


@triton.jit
def _by_differences(x, y, N, D, WIDTH: tl.constexpr, BAND: tl.constexpr, BLOCK: tl.constexpr):
    """[BLOCK, BAND] of r2, exact where rows are close to each other."""
    i = tl.arange(0, BAND)[None, :]
    j = tl.arange(0, BLOCK)[:, None] * WIDTH
    r2 = tl.zeros([BLOCK, BAND], x.dtype.element_ty)
    for _ in range(0, D):
        t = tl.load(x + i) - tl.load(y + j)
        r2 += t * t
        x += N
        y += 1
    return r2


@triton.jit
def _by_products(x, y, N, D, WIDTH: tl.constexpr, BAND: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr):
    """[BLOCK, BAND] of r2 = |x|² + |y|² − 2xy, which takes half the arithmetic."""
    i = tl.arange(0, BAND)
    j = tl.arange(0, BLOCK) * WIDTH
    d = tl.arange(0, CHUNK)
    xy = tl.zeros([BLOCK, BAND], x.dtype.element_ty)
    xx = tl.zeros([BAND], x.dtype.element_ty)
    yy = tl.zeros([BLOCK], x.dtype.element_ty)
    for _ in range(0, D, CHUNK):
        xd = tl.load(x + d[:, None] * N + i[None, :])
        yd = tl.load(y + d[None, :] + j[:, None])
        xy = tl.dot(yd, xd, xy, input_precision="ieee", out_dtype=xy.dtype)
        xx += tl.sum(xd * xd, 0)
        yy += tl.sum(yd * yd, 1)
        x += CHUNK * N
        y += CHUNK
    r2 = yy[:, None] + xx[None, :] - 2.0 * xy
    return tl.where(r2 < 0.0, 0.0, r2)  # a NaN stays one


@triton.jit
def _rows_kernel(
    x, y, weight, parameters, out, N, L, D, span,
    BOTH: tl.constexpr, PARAMETERS: tl.constexpr, WITHIN: tl.constexpr, SLOPES: tl.constexpr, EXACT: tl.constexpr,
    WIDTH: tl.constexpr, KEPT: tl.constexpr, BAND: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
    RUN: tl.constexpr,
):  # fmt: skip
    """x (WIDTH, N), y (L, WIDTH), weight (L,) → out (L / span, N, 1 + PARAMETERS [+ 1 + WIDTH]), zeros before.

    N and L are padded to whole bands and blocks (by rows of weight 0), D is WIDTH before padding; KEPT: D or, with
    CHUNK, 0. y lies row by row, so that all its elements are constant distances from one address; so does `out`.
    """
    N = N.to(tl.int64)
    band = tl.program_id(0).to(tl.int64) * BAND
    first = tl.program_id(1).to(tl.int64) * span
    last = tl.minimum(first + span, L)
    i = tl.arange(0, BAND)
    j = tl.arange(0, BLOCK)
    d = tl.arange(0, CHUNK if CHUNK else 1)
    x += band
    out += (tl.program_id(1) * N + band + i) * (1 + PARAMETERS + SLOPES * (1 + WIDTH))
    at = ()
    for p in tl.static_range(PARAMETERS):
        at = at + (tl.load(parameters + p),)
    for run in range(first, last, RUN * BLOCK):
        totals = ()
        for _ in tl.static_range(1 + PARAMETERS + SLOPES * (1 + KEPT)):
            totals = totals + (tl.zeros([BAND], x.dtype.element_ty),)
        for block in range(run, tl.minimum(run + RUN * BLOCK, last), BLOCK):
            near = y + block * WIDTH
            if EXACT:
                r2 = _by_differences(x, near, N, D, WIDTH, BAND, BLOCK)
            else:
                r2 = _by_products(x, near, N, D, WIDTH, BAND, BLOCK, CHUNK)
            v = tl.load(weight + block + j)[:, None]
            counts = v != 0.0
            if WITHIN:
                counts = counts & (j[:, None] - i[None, :] != (band - block).to(tl.int32))
            r2 = tl.where(counts, r2, 1.0)  # where k is infinite, a weight of 0 would make a NaN
            v = tl.where(counts, v, 0.0)
            k = BOTH(r2, *at)
            sums = (totals[0] + tl.sum(v * k[0], 0),)
            for p in tl.static_range(PARAMETERS):
                sums = sums + (totals[1 + p] + tl.sum(v * k[2 + p], 0),)
            if SLOPES:
                c = tl.where(r2 == 0.0, 0.0, 2.0 * v * k[1])  # no direction where two rows meet
                sums = sums + (totals[1 + PARAMETERS] + tl.sum(c, 0),)
                for f in tl.static_range(KEPT):
                    yd = tl.load(near + j * WIDTH + f)[:, None]
                    sums = sums + (totals[2 + PARAMETERS + f] + tl.sum(c * yd, 0),)
                if CHUNK:
                    for f in range(0, D, CHUNK):
                        yd = tl.load(near + f + d[:, None] + j[None, :] * WIDTH)
                        to = out[None, :] + 2 + PARAMETERS + f + d[:, None]
                        cy = tl.dot(yd, c, input_precision="ieee", out_dtype=c.dtype)
                        tl.store(to, tl.load(to) + cy.to(tl.float64))
                    tl.debug_barrier()  # the next block may load by another thread what this one stored
            totals = sums
        for p in tl.static_range(1 + PARAMETERS + SLOPES * (1 + KEPT)):
            tl.store(out + p, tl.load(out + p) + totals[p].to(tl.float64))
        tl.debug_barrier()


def pair_sum(
    formula: Formula,
    x: Tensor,
    y: Tensor,
    x_weight: Tensor,
    y_weight: Tensor,
    parameters: Tensor,
    within: bool,
    gradients: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Σ w_i v_j k(‖x_i − y_j‖²; parameters) and its gradients.

    float32 and bfloat16 are computed in float32, float64 in float64.

    Args:
        formula: the formula of r2 and the parameters.
        x: (N, D).
        y: (L, D).
        x_weight: (N,) weights w.
        y_weight: (L,) weights v.
        parameters: (P,).
        within: whether y is x; then the sum is over i ≠ j, and the gradient for x is that in both its places.
        gradients: whether the gradients for x and y are computed.

    Returns:
        The sum, and its gradients for x and y (empty unless `gradients`) and for the parameters (P,), all in float64.
    """
    real = torch.float64 if x.dtype == torch.float64 else torch.float32
    x, y, x_weight, y_weight, parameters = (t.to(real).contiguous() for t in (x, y, x_weight, y_weight, parameters))
    mass = (x_weight.sum() + y_weight.sum()).clamp_min(torch.finfo(real).tiny)
    sums = [(w.unsqueeze(-1) * t).sum(0) for t, w in ((x, x_weight), (y, y_weight))]
    centre = (sums[0] + sums[1]) / mass  # c x and c y are summed apart, where a common offset would cost digits
    x, y = x - centre, y - centre
    rows = _rows(formula, x, y, x_weight, y_weight, parameters, within, gradients)
    total, count = rows.sum(0), 1 + len(parameters)
    gx = gy = total.new_empty(0)
    if gradients:
        gx = x * rows[:, count, None] - rows[:, count + 1 :]
        if within:
            gx, gy = 2 * gx, gx[:0]
        else:
            rows = _rows(formula, y, x, y_weight, x_weight, parameters, within, gradients)
            gy = y * rows[:, count, None] - rows[:, count + 1 :]
    return total[0], gx, gy, total[1:count]


def _rows(
    formula: Formula, x: Tensor, y: Tensor, w: Tensor, v: Tensor, parameters: Tensor, within: bool, gradients: bool
) -> Tensor:
    """(N, 1 + P [+ 1 + D]) in float64: for every row i of x, w_i Σ_j v_j (k, ∂k by the parameters[, 2k', 2k' y_j])."""
    features = x.shape[1]
    fixed, options = configuration(formula, features, within, gradients)
    width, band, block = fixed["WIDTH"], fixed["BAND"], fixed["BLOCK"]
    by_feature = x.new_zeros(width, triton.cdiv(len(x), band) * band)
    by_feature[:features, : len(x)] = x.T
    by_row, weight = (y.new_zeros(triton.cdiv(len(y), block) * block, *rest) for rest in ((width,), ()))
    by_row[: len(y), :features], weight[: len(y)] = y, v
    bands, runs = by_feature.shape[1] // band, triton.cdiv(len(by_row), block * RUN)
    span = triton.cdiv(runs, max(1, PROGRAMS // bands)) * block * RUN
    grid = (bands, triton.cdiv(len(by_row), span))
    size = 1 + len(parameters) + gradients * (1 + width)
    out = torch.zeros(grid[1], by_feature.shape[1], size, dtype=torch.float64, device=x.device)
    with torch.cuda.device_of(x):
        _rows_kernel[grid](
            by_feature, by_row, weight, parameters, out, by_feature.shape[1], len(by_row), features, span,
            **fixed, **options,
        )  # fmt: skip
    rows = out.sum(0)[: len(x), : size - gradients * (width - features)]
    return torch.where(w.unsqueeze(-1) == 0, 0.0, w.unsqueeze(-1) * rows)


def configuration(
    formula: Formula, features: int, within: bool, gradients: bool
) -> tuple[dict[str, Any], dict[str, int]]:
    """Choose the constants and options that `_rows_kernel` is compiled with.

    Args:
        formula: the formula of r2 and the parameters.
        features: D.
        within: whether y is x and the sum is over i ≠ j.
        gradients: whether the gradients for x and y are computed.

    Returns:
        The constants, and the options of the launch.
    """
    band, block, warps, chunk = tiles(features)
    fixed = dict(
        BOTH=formula.triton.value_and_grad, PARAMETERS=len(formula.arguments) - 1, WITHIN=within, SLOPES=gradients,
        EXACT=not chunk or cusped(formula), WIDTH=triton.cdiv(features, chunk or 1) * (chunk or 1),
        KEPT=0 if chunk else features, BAND=band, BLOCK=block, CHUNK=chunk, RUN=RUN,
    )  # fmt: skip
    return fixed, {"num_warps": warps, "num_stages": 2, "maxnreg": REGISTERS}


def aot() -> list[tuple[Any, dict[str, str], dict[str, Any], dict[str, int]]]:
    """(kernel, signature, constants, options) for the kernels of `mmd`."""
    from . import mmd

    inputs = dict.fromkeys(("x", "y", "weight", "parameters"), "*fp32") | {"out": "*fp64"}
    inputs |= dict.fromkeys(("N", "L", "D", "span"), "i32")
    most = [(features, True, True) for features in (2, 20, 64, 512)]
    found = []
    for kernel, cases in (
        (mmd.rbf(1.0), [*most, (1, True, True), (20, False, True), (64, True, False)]),
        (mmd.rbf(*(2.0**i for i in range(5))), most),
        (mmd.imq(1.0), most),
        (mmd.laplacian(1.0), most),
    ):
        for features, within, gradients in cases:
            fixed, options = configuration(kernel.formula.formula, features, within, gradients)
            if features == 1:  # a launch takes an argument of 1 as a constant
                fixed["D"] = 1
            found.append((_rows_kernel, inputs | dict.fromkeys(fixed, "constexpr"), fixed, options))
    return found
