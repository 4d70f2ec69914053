"""The likelihood template in Triton: one pass over rows for the value and one for the gradient. Masked rows are left
out.

The kernels of a formula are one generated module in the cache folder, which begins with the formula's own functions.
"""

from functools import cache
from types import ModuleType
from typing import Any

import torch
import triton
from torch import Tensor

from .codegen.generate import Formula, module
from .codegen.primitives_triton import Configurations, accumulated, as_bytes, configuration, countable

NUMBERS = 512  # of each tensor that a program of WARPS holds at once
WARPS = 8
PROGRAMS = 1024  # fill a large GPU; each leaves a partial sum of the parameters' gradients
SIZES = ("R", "B", "D", "x_s", "x_b", "o_s", "o_b")  # R = S·B rows; strides of x and output over subsets and rows


TEMPLATE = '''{formula}
from mmppl.kernels.codegen.primitives_triton import wide


@triton.jit
def rows(x, output, mask, r, R, B, x_s, x_b, o_s, o_b):
    """Where rows r [ROWS] of x and of the output begin, and which rows count, as [ROWS, 1]."""
    kept = r < R
    if mask is not None:
        kept = kept & (tl.load(mask + r, mask=kept, other=0) != 0)
    s, b = (r // B).to(tl.int64), (r % B).to(tl.int64)  # offsets may be beyond 32 bits, rows are not
    return (x + s * x_s + b * x_b)[:, None], (output + s * o_s + b * o_b)[:, None], kept[:, None]


@triton.jit
def forward(x, output, {pointers}mask, out, {sizes}, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """out (R): sums over features; the step of a parameter: 1 for a number per feature, 0 for one in all."""
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    x_row, o_row, kept = rows(x, output, mask, r, R, B, x_s, x_b, o_s, o_b)
    total = tl.zeros([ROWS, BLOCK], out.dtype.element_ty)
    for start in range(0, D, BLOCK):
        d = start + tl.arange(0, BLOCK)[None, :]
        ok = kept & (d < D)
{loads}        result = value_and_grad({arguments})
        total += tl.where(ok, result[0], 0.0)
    tl.store(out + r, tl.sum(total, 1), mask=r < R)


@triton.jit
def backward(
    g, x, output, {pointers}mask, slope, sums, {sizes}, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """slope (R, D per output) is for the output; sums (programs, parameters, D), or None, are parts of the others."""
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[None, :]
    first = tl.program_id(0)
{zeros}    for group in range(first, tl.cdiv(R, ROWS), tl.num_programs(0)):
        r = group * ROWS + tl.arange(0, ROWS)
        x_row, o_row, kept = rows(x, output, mask, r, R, B, x_s, x_b, o_s, o_b)
        ok, there = kept & (d < D), (r < R)[:, None] & (d < D)
        s_row = slope + (r.to(tl.int64) * {outputs} * D)[:, None]
        w = wide(tl.load(g + r, mask=r < R, other=0.0))[:, None]
{loads}        result = value_and_grad({arguments})
{stores}{adds}{writes}'''


@cache
def generated(formula: Formula, parameters: int) -> ModuleType:
    """Return the module with `forward` and `backward`.

    Args:
        formula: the formula of one feature.
        parameters: how many of its last derivatives are by parameters.

    Returns:
        The module, which is generated if the cache folder does not have it.
    """
    outputs = len(formula.wrt) - parameters

    def lines(indent: int, text: str, count: int, first: int = 0) -> str:
        return "".join(f"{' ' * indent}{text.format(i=i, at=first + i)}\n" for i in range(count))

    def if_summed(indent: int, text: str) -> str:
        inner = lines(indent + 4, text, parameters, 1 + outputs)
        return f"{' ' * indent}if sums is not None:\n{inner}" if parameters else ""

    part = f"sums + (first.to(tl.int64) * {parameters} + {{i}}) * D + d"
    source = TEMPLATE.format(
        formula=formula.triton_source,
        outputs=outputs,
        pointers=lines(0, "p{i},", parameters).replace("\n", " "),
        sizes=", ".join([*SIZES, *(f"p{i}_step" for i in range(parameters))]),
        arguments=", ".join(["x0", *(f"o{i}" for i in range(outputs)), *(f"q{i}" for i in range(parameters))]),
        loads=lines(8, "x0 = wide(tl.load(x_row + d, mask=ok, other=0.0))", 1)
        + lines(8, "o{i} = wide(tl.load(o_row + {i} * D + d, mask=ok, other=0.0))", outputs)
        + lines(8, "q{i} = wide(tl.load(p{i} + d * p{i}_step, mask=d < D, other=0.0))", parameters),
        stores=lines(8, "tl.store(s_row + {i} * D + d, tl.where(ok, w * result[{at}], 0.0), mask=there)", outputs, 1),
        zeros=if_summed(4, "sum{i} = tl.zeros([ROWS, BLOCK], sums.dtype.element_ty)"),
        adds=if_summed(8, "sum{i} += tl.where(ok, w * result[{at}], 0.0)"),
        writes=if_summed(4, f"tl.store({part}, tl.sum(sum{{i}}, 0)[None, :], mask=d < D)"),
    )
    return module(f"{formula.key}_likelihood_triton", source)


def forward(formula: Formula, x: Tensor, output: Tensor, parameters: list[Tensor], mask: Tensor | None) -> Tensor:
    """The log-density of each row. An output in bfloat16 is read as float32, and the value is float32.

    Args:
        formula: the formula of one feature.
        x: (S, B, D), where S may be 1 by stride.
        output: (S, B, K·D).
        parameters: 0-d or (D,) each.
        mask: (S·B,), or None.

    Returns:
        (S·B,).
    """
    kernel, sizes, table = _prepared(formula, x, output, parameters)
    out = output.new_empty(output.shape[0] * output.shape[1], dtype=accumulated(output))
    grid = (triton.cdiv(len(out), table["ROWS"]),)
    kernel.forward[grid](x, output, *parameters, as_bytes(mask), out, *sizes, **table)
    return out


def backward(
    formula: Formula, g: Tensor, x: Tensor, output: Tensor, parameters: list[Tensor], mask: Tensor | None, wanted: bool
) -> list[Tensor]:
    """The gradients of Σ g·forward, each in the dtype of its tensor.

    Args:
        formula: the formula of one feature.
        g: (S·B,).
        x: (S, B, D), where S may be 1 by stride.
        output: (S, B, K·D).
        parameters: 0-d or (D,) each.
        mask: (S·B,), or None.
        wanted: whether the gradients for the parameters are computed.

    Returns:
        The gradient for the output and, where `wanted`, for each parameter.
    """
    kernel, sizes, table = _prepared(formula, x, output, parameters)
    slope = torch.empty(output.shape, dtype=output.dtype, device=output.device)
    width = x.shape[-1]
    blocks = triton.cdiv(width, table["BLOCK"])
    groups = triton.cdiv(output.shape[0] * output.shape[1], table["ROWS"])
    programs = min(groups, max(1, PROGRAMS // max(blocks, 1))) if wanted else groups
    sums = output.new_empty(programs, len(parameters), width, dtype=accumulated(output)) if wanted else None
    inputs = [g, x, output, *parameters, as_bytes(mask)]
    kernel.backward[programs, blocks](*inputs, slope, sums, *sizes, **table)
    if sums is None:
        return [slope]
    total = sums.sum(0)
    return [slope, *((t if p.ndim else t.sum()).to(p.dtype) for t, p in zip(total, parameters))]


def _prepared(
    formula: Formula, x: Tensor, output: Tensor, parameters: list[Tensor]
) -> tuple[ModuleType, list[int], dict[str, int]]:
    """The kernels, the sizes and strides, and the launch table."""
    subsets, rows = output.shape[:2]
    countable(formula.name, subsets * rows)
    steps = [p.stride(0) if p.ndim else 0 for p in parameters]
    sizes = [subsets * rows, rows, x.shape[-1], *x.stride()[:2], *output.stride()[:2], *steps]
    return generated(formula, len(parameters)), sizes, _table(x.shape[-1])


def _table(width: int) -> dict[str, int]:
    """The constants and the number of warps for D features."""
    block = min(NUMBERS, triton.next_power_of_2(max(width, 1)))
    return {"ROWS": NUMBERS // block, "BLOCK": block, "num_warps": WARPS}


def aot() -> Configurations:
    """The configurations of the built-in formulas, for few and many features, with all optional tensors and with none;
    and of one formula for one feature.
    """
    from .counts import nb, poisson, zinb
    from .likelihood import bernoulli, beta, laplace, normal, normal_predicted, student

    found: Configurations = []
    for one in (bernoulli, normal, normal_predicted, laplace, student, beta, poisson, nb, zinb):
        sizes = (*SIZES, *(f"p{i}_step" for i in range(len(one.parameters))))
        types = {"mask": "*u8"} | dict.fromkeys(sizes, "i32")
        full: dict[str, Any] = {} if one.parameters else {"sums": None}
        cases = [(20, types, full), (784, types | {"output": "*bf16", "slope": "*bf16"}, {"mask": None, "sums": None})]
        if one is normal:  # at a launch, a size of 1 is a constant
            cases.append((1, types, dict.fromkeys(sizes, 1)))
        kernels = generated(one.formula, len(one.parameters))
        for kernel in (kernels.forward, kernels.backward):
            found += [configuration(kernel, _table(width), t, constants) for width, t, constants in cases]
    return found
