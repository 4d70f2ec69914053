"""The likelihood template in C: one pass per row for the value and one for the gradient. Masked rows are left out."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from .codegen.c_backend import addresses, array, library, numbers, over_rows
from .codegen.generate import Formula

BLOCK = 512  # features summed in the tensors' own precision before they enter the row's total in double


@cache
def source(formula: Formula, outputs: int, per_feature: tuple[bool, ...], parameters_wanted: bool) -> str:
    """Make the C source of `forward` and `backward`.

    Args:
        formula: the formula of one feature.
        outputs: the number of decoder outputs per feature.
        per_feature: for each parameter, whether it has one value per feature.
        parameters_wanted: whether `backward` computes the gradients for the parameters.

    Returns:
        C source.
    """
    parameters = "".join(f"const real *p{i}, " for i in range(len(per_feature)))
    scalars = "".join(f"    const real q{i} = p{i}[0];\n" for i, f in enumerate(per_feature) if not f)
    at = [f"p{i}[d]" if f else f"q{i}" for i, f in enumerate(per_feature)]
    inputs = ", ".join(["xr[d]", *(f"READ(or[d + {k} * D])" for k in range(outputs)), *at])
    gradients = [f"g{k}" for k in range(outputs + len(per_feature))]
    call = f"real v, {', '.join(gradients)}; {formula.name}({inputs}, &v, {', '.join(f'&{g}' for g in gradients)});"
    store = " ".join(f"gr[d + {k} * D] = ROUND(w * {gradients[k]});" for k in range(outputs))
    add = " ".join(f"gp[{i} * D + d] += (double)(w * {gradients[outputs + i]});" for i in range(len(per_feature)))
    return f"""{formula.c_source}
/* n: B, D, strides of x over subsets and rows, strides of the output over subsets and rows */
#define ROW \\
    int64_t s = r / B, b = r % B; \\
    const real *restrict xr = x + s * n[2] + b * n[3]; \\
    const stored *restrict or = o + s * n[4] + b * n[5];

void forward(const int64_t *n, const real *x, const stored *o, {parameters}const uint8_t *mask, real *out, int64_t first, int64_t last) {{
    const int64_t B = n[0], D = n[1];
{scalars}    for (int64_t r = first; r < last; r++) {{
        if (mask && !mask[r]) {{ out[r] = 0; continue; }}
        ROW
        double total = 0;
        for (int64_t start = 0; start < D; start += {BLOCK}) {{
            int64_t stop = start + {BLOCK} < D ? start + {BLOCK} : D;
            real part = 0;
            _Pragma("omp simd reduction(+ : part)")
            for (int64_t d = start; d < stop; d++) {{ {call} part += v; }}
            total += part;
        }}
        out[r] = (real)total;
    }}
}}

/* g: one number per row; go: like the output, contiguous; gp: (parameters, D) sums over the rows */
void backward(const int64_t *n, const real *x, const stored *o, {parameters}const uint8_t *mask, const real *g, stored *restrict go, double *restrict gp, int64_t first, int64_t last) {{
    const int64_t B = n[0], D = n[1];
{scalars}    for (int64_t r = first; r < last; r++) {{
        stored *restrict gr = go + r * {outputs} * D;
        if (mask && !mask[r]) {{ for (int64_t d = 0; d < {outputs} * D; d++) gr[d] = 0; continue; }}
        ROW
        const real w = g[r];
        _Pragma("omp simd")
        for (int64_t d = 0; d < D; d++) {{ {call} {store} {add if parameters_wanted else ""} }}
    }}
}}
"""


def forward(formula: Formula, x: Tensor, output: Tensor, parameters: list[Tensor], mask: Tensor | None) -> Tensor:
    """The log-density of each row.

    Args:
        formula: the formula of one feature.
        x: (S, B, D), where S may be 1 by stride.
        output: (S, B, K·D).
        parameters: 0-d or (D,) each.
        mask: (S·B,), or None.

    Returns:
        (S·B,).
    """
    size, code = _prepared(formula, x, output, parameters, False)
    out = x.new_empty(output.shape[0] * output.shape[1])
    at = addresses(x, output, *parameters, mask, out)
    over_rows(lambda first, last: code.forward(size, *at, *numbers(first, last)), len(out), output.numel())
    return out


def backward(
    formula: Formula, g: Tensor, x: Tensor, output: Tensor, parameters: list[Tensor], mask: Tensor | None, wanted: bool
) -> list[Tensor]:
    """The gradients of Σ g·forward.

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
    size, code = _prepared(formula, x, output, parameters, wanted)
    slope = torch.empty(output.shape, dtype=output.dtype, device=output.device)
    rows, width = output.shape[0] * output.shape[1], x.shape[-1]
    at = addresses(x, output, *parameters, mask, g, slope)

    def call(first: int, last: int) -> Tensor:
        part = torch.zeros(len(parameters) if wanted else 0, width, dtype=torch.float64)
        code.backward(size, *at, *addresses(part), *numbers(first, last))
        return part

    parts = over_rows(call, rows, output.numel())
    if not wanted:
        return [slope]
    total = torch.stack(parts).sum(0)
    return [slope, *((t if p.ndim else t.sum()).to(p.dtype) for t, p in zip(total, parameters))]


def _prepared(formula: Formula, x: Tensor, output: Tensor, parameters: list[Tensor], wanted: bool) -> tuple[Any, Any]:
    """The sizes and strides, and the compiled library."""
    per_feature = tuple(p.ndim > 0 for p in parameters)
    outputs = len(formula.wrt) - len(parameters)
    code = library(source(formula, outputs, per_feature, wanted), x.dtype, output.dtype)
    return array(*output.shape[1:2], x.shape[-1], *x.stride()[:2], *output.stride()[:2]), code
