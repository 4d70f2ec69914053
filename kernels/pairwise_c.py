"""The pairwise template in C: blocks of pairs in registers, exact differences (no cancellation), gradients on the way.

Four rows of x meet four vectors of y at a time; y is stored feature by feature. Nothing of size N×N is ever held.
"""

from functools import cache

import torch
from torch import Tensor

from .codegen.c_backend import addresses, array, in_parallel, library, numbers
from .codegen.generate import Formula

LANES = 64  # pairs of one row in a block: the second sample is padded to a multiple (of 32 in float64)


@cache
def source(formula: Formula) -> str:
    """Make the C source of `pairs` for a formula."""
    count = len(formula.arguments) - 1
    values = "".join(f", q[{i}]" for i in range(count))
    gradients = "".join(f", &s{i}" for i in range(count))
    declared = "".join(f", s{i}" for i in range(count))
    parts = "".join(f", t{i} = 0" for i in range(count))
    clauses = "".join(f", t{i}" for i in range(count))
    add = " ".join(f"t{i} += pair[l] * s{i};" for i in range(count))
    total = " ".join(f"sums[{i + 1}] += t{i};" for i in range(count))
    return f"""{formula.c_source}
#include <stdlib.h>
#include <string.h>
typedef real vec __attribute__((vector_size(64), aligned(4)));
#define V ((int)(64 / sizeof(real)))
#define ROWS 4
#define VECS 4
#define BAND 32 /* rows whose gradients for y are summed apart first: the block stays near */
#define FLUSH 2 /* blocks after which gradients for x enter their totals */

/* Gradients are summed in double from block to block: in MMD² such sums cancel, and their digits with them. */
static void flush(vec *g, int64_t count, double *restrict totals) {{
    for (int64_t i = 0; i < count; i++) {{
        real total = 0;
        for (int l = 0; l < V; l++) total += g[i][l];
        totals[i] += total;
    }}
    memset(g, 0, count * sizeof(vec));
}}

/* n: N, padded M, D, within, slopes wanted. x (N, D), w (N); y (D, M) by features, v (M), 0 in the padding.
   sums: value and derivative by each parameter; gx (N, D); gy (D, M). Bands of rows first, first + step, ... */
int pairs(const int64_t *n, const real *x, const real *w, const real *y, const real *v, const real *q, double *sums,
          double *gx, double *restrict gy, int64_t first, int64_t step) {{
    const int64_t N = n[0], M = n[1], D = n[2], within = n[3], wanted = n[4];
    vec *g = aligned_alloc(64, (BAND + VECS) * (D + 1) * sizeof(vec)), *near = g + BAND * (D + 1);
    real *rows = malloc(BAND * (D + 1) * sizeof(real));
    if (!g || !rows) {{ free(g); free(rows); return 1; }}
    for (int64_t band = first * BAND; band < N; band += step * BAND) {{
        const int64_t height = band + BAND < N ? BAND : N - band;
        memset(rows, 0, BAND * D * sizeof(real));
        memcpy(rows, x + band * D, height * D * sizeof(real));
        memset(g, 0, BAND * D * sizeof(vec));
        for (int64_t j = within ? band / (VECS * V) * (VECS * V) : 0; j < M; j += VECS * V) {{
            memset(near, 0, VECS * D * sizeof(vec));
            for (int64_t i = 0; i < height; i += ROWS) {{
                vec r[ROWS][VECS] = {{0}};
                const real *at = rows + i * D;
                for (int64_t d = 0; d < D; d++) {{
                    const vec *yd = (const vec *)(y + d * M + j);
                    #pragma GCC unroll 4
                    for (int a = 0; a < ROWS; a++) {{
                        #pragma GCC unroll 4
                        for (int l = 0; l < VECS; l++) {{ vec t = at[a * D + d] - yd[l]; r[a][l] += t * t; }}
                    }}
                }}
                real c[ROWS][VECS * 16];
                for (int a = 0; a < ROWS; a++) memcpy(c[a], r[a], sizeof r[a]);
                for (int64_t a = 0; a < ROWS; a++) {{
                    const int64_t row = band + i + a;
                    const real weight = row < N ? w[row] : (real)0;
                    real pair[VECS * 16], value = 0{parts};
                    for (int l = 0; l < VECS * V; l++) pair[l] = weight * v[j + l];
                    if (within) /* only partners after the row itself */
                        for (int64_t l = 0; l < VECS * V && j + l <= row; l++) pair[l] = 0;
                    _Pragma("omp simd reduction(+ : value{clauses})")
                    for (int l = 0; l < VECS * V; l++) {{
                        real k, slope{declared}; /* where k may be infinite, its weight of 0 would make a NaN */
                        const real r2 = pair[l] != 0 ? c[a][l] : (real)1;
                        {formula.name}(r2{values}, &k, &slope{gradients});
                        value += pair[l] * k; {add}
                        c[a][l] = c[a][l] > 0 ? 2 * pair[l] * slope : (real)0; /* no direction where two rows meet */
                    }}
                    sums[0] += value; {total}
                }}
                if (!wanted) continue;
                vec s[ROWS][VECS], *gr = g + i * D;
                for (int a = 0; a < ROWS; a++) memcpy(s[a], c[a], sizeof s[a]);
                for (int64_t d = 0; d < D; d++) {{
                    const vec *yd = (const vec *)(y + d * M + j);
                    vec *gd = near + d * VECS;
                    #pragma GCC unroll 4
                    for (int a = 0; a < ROWS; a++) {{
                        vec across = {{0}};
                        #pragma GCC unroll 4
                        for (int l = 0; l < VECS; l++) {{
                            vec t = s[a][l] * (at[a * D + d] - yd[l]);
                            across += t;
                            gd[l] -= t;
                        }}
                        gr[a * D + d] += across;
                    }}
                }}
            }}
            if (!wanted) continue;
            for (int64_t d = 0; d < D; d++) {{
                const real *n = (const real *)(near + d * VECS);
                for (int l = 0; l < VECS * V; l++) gy[d * M + j + l] += n[l];
            }}
            if (j / (VECS * V) % FLUSH == FLUSH - 1) flush(g, height * D, gx + band * D);
        }}
        if (wanted) flush(g, height * D, gx + band * D);
    }}
    free(g); free(rows);
    return 0;
}}
"""


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
    lanes = LANES * 4 // x.element_size()
    padded = -(-len(y) // lanes) * lanes
    by_feature, weight = x.new_zeros(x.shape[1], padded), x.new_zeros(padded)
    by_feature[:, : len(y)], weight[: len(y)] = y.T, y_weight
    code, sizes = library(source(formula), x.dtype), array(len(x), padded, x.shape[1], int(within), int(gradients))
    gx = torch.zeros_like(x, dtype=torch.float64) if gradients else torch.empty(0)
    x, x_weight, parameters = x.contiguous(), x_weight.contiguous(), parameters.contiguous()
    inputs = addresses(x, x_weight, by_feature, weight, parameters)

    def part(number: int, of: int) -> tuple[Tensor, Tensor]:
        sums = torch.zeros(1 + len(parameters), dtype=torch.float64)
        gy = torch.zeros_like(by_feature, dtype=torch.float64) if gradients else by_feature.new_empty(0)
        if code.pairs(sizes, *inputs, *addresses(sums, gx, gy), *numbers(number, of)):
            raise MemoryError("pair sums: no memory for the working block")
        return sums, gy

    parts = in_parallel(part, -(-len(x) // 32), len(x) * padded * x.shape[1] // 4)
    sums = torch.stack([s for s, _ in parts]).sum(0)
    gy = torch.stack([g for _, g in parts]).sum(0)[:, : len(y)].T if gradients else gx
    if within:  # only half of the pairs were summed, and both ends of each are rows of x
        sums, gx, gy = 2 * sums, 2 * (gx + gy) if gradients else gx, gx[:0]
    return sums[0], gx, gy, sums[1:]
