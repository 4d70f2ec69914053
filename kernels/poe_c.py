"""Product of experts in C: tiles of rows stay in the cache while every subset is multiplied, sampled and measured.

Precisions are computed once per expert, not once per subset. Rows that hold log-variances beyond ±80, or means whose
products with precisions overflow, go through logsumexp instead. The backward pass computes everything again from the
inputs.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .codegen.c_backend import addresses, array, library, numbers, over_rows

SOURCE = """
#include <stdlib.h>
#include <string.h>
#define WIDE 80    /* log-variances up to here are safe in the linear domain */
#define FAR (sizeof(real) == 4 ? (real)1e34 : (real)1e300)  /* and means times precisions */
#define BLOCK 64 /* subsets whose gradients are summed by themselves first: a sum of 1,023 in float32 loses digits */
#define MOST 1024  /* numbers of one expert in a tile of rows, unless one row alone has more */

typedef struct { int64_t M, S, B, D, prior; } Sizes;
/* A tile of rows, experts in front: precisions, precisions * means, which rows are wide; and the fused result. */
typedef struct { real *p, *pm, *mean, *variance, *sd, *log_precision, *gm, *gl, *block; uint8_t *wide, *kept; int64_t tile; } Work;

static int begin(const Sizes *n, Work *w) {
    int64_t tile = n->D > 0 && MOST / n->D > 1 ? MOST / n->D : 1, size = tile * n->D;
    tile = tile < n->B ? tile : n->B;
    w->tile = tile;
    w->p = malloc((4 * n->M + 8) * size * sizeof(real) + 1);
    w->wide = malloc(tile * (1 + n->M) + 1);
    if (!w->p || !w->wide) { free(w->p); free(w->wide); return 1; }
    w->pm = w->p + n->M * size; w->mean = w->pm + n->M * size; w->variance = w->mean + size;
    w->sd = w->variance + size; w->log_precision = w->sd + size; w->gm = w->log_precision + size; w->gl = w->gm + size;
    w->block = w->gl + size; /* 2 M + 2 sums of a block of subsets: for the experts, and for the target */
    w->kept = w->wide + tile;
    return 0;
}

/* Precisions of rows [b, b + rows), and whether a row has an expert, seen by some subset, outside the linear domain. */
static void load(const Sizes *n, Work *w, const real *mu, const real *lv, const uint8_t *seen, int64_t b, int64_t rows) {
    const int64_t size = rows * n->D, M = n->M;
    memset(w->kept, 0, rows * M);
    for (int64_t s = 0; s < n->S; s++) {
        const uint8_t *here = seen + (s * n->B + b) * M;
        for (int64_t i = 0; i < rows * M; i++) w->kept[i] |= here[i];
    }
    memset(w->wide, 0, rows);
    for (int64_t m = 0; m < M; m++) {
        const real *restrict l = lv + (m * n->B + b) * n->D, *restrict u = mu + (m * n->B + b) * n->D;
        real *restrict p = w->p + m * size, *restrict pm = w->pm + m * size;
        _Pragma("omp simd")
        for (int64_t i = 0; i < size; i++) { real e = EXP(-l[i]); p[i] = e; pm[i] = e * u[i]; }
        for (int64_t r = 0; r < rows; r++) {
            int out = 0;
            if (w->kept[r * M + m])
                for (int64_t i = r * n->D; i < (r + 1) * n->D; i++)
                    out |= (l[i] > WIDE) | (l[i] < -WIDE) | (pm[i] > FAR) | (pm[i] < -FAR);
            w->wide[r] |= out;
        }
    }
}

/* The product of one subset for the tile's rows; seen: of its first row. */
static void fuse(const Sizes *n, Work *w, const real *mu, const real *lv, const uint8_t *seen, int64_t b, int64_t rows) {
    const int64_t D = n->D, M = n->M, size = rows * D;
    real *restrict T = w->variance, *restrict N = w->mean, *restrict L = w->log_precision, *restrict sd = w->sd;
    for (int64_t i = 0; i < size; i++) { T[i] = (real)n->prior; N[i] = 0; }
    for (int64_t m = 0; m < M; m++) {
        int64_t see = 0;
        for (int64_t r = 0; r < rows; r++) see += seen[r * M + m];
        const real *restrict p = w->p + m * size, *restrict pm = w->pm + m * size;
        if (see == rows) {
            _Pragma("omp simd")
            for (int64_t i = 0; i < size; i++) { T[i] += p[i]; N[i] += pm[i]; }
        } else if (see)
            for (int64_t r = 0; r < rows; r++)
                if (seen[r * M + m])
                    for (int64_t i = r * D; i < r * D + D; i++) { T[i] += p[i]; N[i] += pm[i]; }
    }
    _Pragma("omp simd")
    for (int64_t i = 0; i < size; i++) { L[i] = LOG(T[i]); T[i] = 1 / T[i]; N[i] *= T[i]; sd[i] = SQRT(T[i]); }
    for (int64_t r = 0; r < rows; r++) {
        if (!w->wide[r]) continue;
        for (int64_t d = 0; d < D; d++) { /* logsumexp over the seen experts and the prior */
            const int64_t at = (b + r) * D + d, i = r * D + d, next = n->B * D;
            real peak = n->prior ? (real)0 : (real)-INFINITY, mass = 0, sum = 0;
            for (int64_t m = 0; m < M; m++) if (seen[r * M + m] && -lv[m * next + at] > peak) peak = -lv[m * next + at];
            if (n->prior) mass = EXP(-peak);
            for (int64_t m = 0; m < M; m++)
                if (seen[r * M + m]) { real e = EXP(-lv[m * next + at] - peak); mass += e; sum += e * mu[m * next + at]; }
            L[i] = peak + LOG(mass); N[i] = sum / mass; T[i] = EXP(-L[i]); sd[i] = EXP(-L[i] / 2);
        }
    }
}

/* kl: NULL: one, two = mean and log-variance; else the KL to N(pu, e^pl) or, where NULL, N(0, I), and with eps the draw
   one = mean + sd * eps. */
int forward(const Sizes *n, const real *mu, const real *lv, const uint8_t *seen, const real *eps, const real *pu,
            const real *pl, real *one, real *two, real *kl, int64_t first, int64_t last) {
    const int64_t B = n->B, D = n->D;
    Work w;
    if (begin(n, &w)) return 1;
    for (int64_t b = first; b < last; b += w.tile) {
        const int64_t rows = b + w.tile < last ? w.tile : last - b, size = rows * D;
        load(n, &w, mu, lv, seen, b, rows);
        const real *restrict mean = w.mean, *restrict var = w.variance, *restrict L = w.log_precision, *restrict sd = w.sd;
        for (int64_t s = 0; s < n->S; s++) {
            fuse(n, &w, mu, lv, seen + (s * B + b) * n->M, b, rows);
            const int64_t here = (s * B + b) * D;
            if (!kl) {
                real *restrict out = one + here, *restrict other = two + here;
                for (int64_t i = 0; i < size; i++) { out[i] = mean[i]; other[i] = -L[i]; }
                continue;
            }
            if (eps) {
                real *restrict out = one + here;
                const real *restrict noise = eps + here;
                _Pragma("omp simd")
                for (int64_t i = 0; i < size; i++) out[i] = mean[i] + sd[i] * noise[i];
            }
            for (int64_t r = 0; r < rows; r++) {
                real total = 0;
                const int64_t i0 = r * D;
                if (pu) {
                    const real *restrict u = pu + (b + r) * D, *restrict l = pl + (b + r) * D;
                    _Pragma("omp simd reduction(+ : total)")
                    for (int64_t d = 0; d < D; d++) {
                        real gap = mean[i0 + d] - u[d];
                        total += l[d] + L[i0 + d] + EXP(-L[i0 + d] - l[d]) + gap * gap * EXP(-l[d]) - 1;
                    }
                } else {
                    _Pragma("omp simd reduction(+ : total)")
                    for (int64_t d = 0; d < D; d++) total += mean[i0 + d] * mean[i0 + d] + var[i0 + d] + L[i0 + d] - 1;
                }
                kl[s * B + b + r] = total / 2;
            }
        }
    }
    free(w.p); free(w.wide);
    return 0;
}

/* Add the sums of a block to the tile's gradients, and begin the next. */
static void flush(const Sizes *n, Work *w, real *dmu, real *dlv, real *dpu, real *dpl, int64_t b, int64_t size) {
    for (int64_t k = 0; k < 2 * n->M + 2; k++) {
        const int64_t m = k / 2, expert = m < n->M;
        real *out = expert ? (k % 2 ? dlv : dmu) : (k % 2 ? dpl : dpu), *restrict sum = w->block + k * size;
        if (!out) continue;
        real *restrict into = out + ((expert ? m * n->B : 0) + b) * n->D;
        for (int64_t i = 0; i < size; i++) { into[i] += sum[i]; sum[i] = 0; }
    }
}

/* g_one, g_two, g_kl: gradients of what forward gave; dmu, dlv, and where given dpu, dpl: zeros that receive ours. */
int backward(const Sizes *n, const real *mu, const real *lv, const uint8_t *seen, const real *eps, const real *pu,
             const real *pl, const real *g_one, const real *g_two, const real *g_kl, real *dmu, real *dlv, real *dpu,
             real *dpl, int64_t first, int64_t last) {
    const int64_t B = n->B, D = n->D, M = n->M;
    Work w;
    if (begin(n, &w)) return 1;
    for (int64_t b = first; b < last; b += w.tile) {
        const int64_t rows = b + w.tile < last ? w.tile : last - b, size = rows * D;
        load(n, &w, mu, lv, seen, b, rows);
        const real *restrict mean = w.mean, *restrict var = w.variance, *restrict L = w.log_precision, *restrict sd = w.sd;
        real *restrict gm = w.gm, *restrict gl = w.gl;
        const int blocked = n->S > BLOCK;
        real *const tu = blocked ? w.block + 2 * M * size : dpu ? dpu + b * D : NULL;
        real *const tl = blocked ? w.block + (2 * M + 1) * size : dpl ? dpl + b * D : NULL;
        if (blocked) memset(w.block, 0, (2 * M + 2) * size * sizeof(real));
        for (int64_t s = 0; s < n->S; s++) {
            const uint8_t *here = seen + (s * B + b) * M;
            fuse(n, &w, mu, lv, here, b, rows);
            if (!g_kl) {
                const real *restrict g = g_one + (s * B + b) * D, *restrict other = g_two + (s * B + b) * D;
                for (int64_t i = 0; i < size; i++) { gm[i] = g[i]; gl[i] = other[i]; }
            } else {
                if (eps) {
                    const real *restrict g = g_one + (s * B + b) * D, *restrict noise = eps + (s * B + b) * D;
                    _Pragma("omp simd")
                    for (int64_t i = 0; i < size; i++) { gm[i] = g[i]; gl[i] = g[i] * noise[i] * sd[i] / 2; }
                } else
                    for (int64_t i = 0; i < size; i++) gm[i] = gl[i] = 0;
                for (int64_t r = 0; r < rows; r++) {
                    const real k = g_kl[s * B + b + r];
                    const int64_t i0 = r * D, at = (b + r) * D;
                    if (pu)
                        for (int64_t d = 0; d < D; d++) {
                            real gap = mean[i0 + d] - pu[at + d], l = pl[at + d], e = EXP(-l), ratio = EXP(-L[i0 + d] - l);
                            gm[i0 + d] += k * gap * e;
                            gl[i0 + d] += k * (ratio - 1) / 2;
                            tu[i0 + d] -= k * gap * e;
                            tl[i0 + d] += k * (1 - ratio - gap * gap * e) / 2;
                        }
                    else {
                        _Pragma("omp simd")
                        for (int64_t d = 0; d < D; d++) {
                            gm[i0 + d] += k * mean[i0 + d];
                            gl[i0 + d] += k * (var[i0 + d] - 1) / 2;
                        }
                    }
                }
            }
            for (int64_t m = 0; m < M; m++) {
                const int64_t at = (m * B + b) * D;
                const real *restrict p = w.p + m * size, *restrict u = mu + at, *restrict l = lv + at;
                real *restrict du = blocked ? w.block + 2 * m * size : dmu + at;
                real *restrict dl = blocked ? w.block + (2 * m + 1) * size : dlv + at;
                int64_t plain = 0;
                for (int64_t r = 0; r < rows; r++) plain += here[r * M + m] && !w.wide[r];
                if (plain == rows) {
                    _Pragma("omp simd")
                    for (int64_t i = 0; i < size; i++) {
                        real share = p[i] * var[i];
                        du[i] += share * gm[i];
                        dl[i] += share * (gl[i] - gm[i] * (u[i] - mean[i]));
                    }
                    continue;
                }
                for (int64_t r = 0; r < rows; r++) {
                    if (!here[r * M + m]) continue;
                    for (int64_t i = r * D; i < r * D + D; i++) {
                        real share = w.wide[r] ? EXP(-l[i] - L[i]) : p[i] * var[i];
                        du[i] += share * gm[i];
                        dl[i] += share * (gl[i] - gm[i] * (u[i] - mean[i]));
                    }
                }
            }
            if (blocked && (s % BLOCK == BLOCK - 1 || s == n->S - 1)) flush(n, &w, dmu, dlv, dpu, dpl, b, size);
        }
    }
    free(w.p); free(w.wide);
    return 0;
}
"""


def product(loc: Tensor, log_var: Tensor, seen: Tensor, prior: bool) -> tuple[Tensor, Tensor]:
    """The products of all subsets.

    Args:
        loc: (M, B, D).
        log_var: (M, B, D).
        seen: (S, B, M) bool.
        prior: whether N(0, I) counts as one more expert.

    Returns:
        Mean and log-variance, (S, B, D) each.
    """
    shape = (*seen.shape[:2], loc.shape[-1])
    mean, fused = loc.new_empty(shape), loc.new_empty(shape)
    _run("forward", loc, seen, prior, [loc, log_var, seen, None, None, None, mean, fused, None])
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
    d_loc, d_log_var = torch.zeros_like(loc), torch.zeros_like(loc)
    inputs = [loc, log_var, seen, None, None, None, g_mean, g_log_var, None]
    _run("backward", loc, seen, prior, [*inputs, d_loc, d_log_var, None, None])
    return d_loc, d_log_var


def sample(
    loc: Tensor, log_var: Tensor, seen: Tensor, noise: Tensor | None, target: Sequence[Tensor], prior: bool
) -> tuple[Tensor, Tensor]:
    """Draws from the products of all subsets, and their KL divergences.

    Args:
        loc: (M, B, D).
        log_var: (M, B, D).
        seen: (S, B, M) bool.
        noise: (S, B, D), or None: nothing is drawn.
        target: mean and log-variance (B, D) of the Gaussian that the KL is taken to; empty: N(0, I).
        prior: whether N(0, I) counts as one more expert.

    Returns:
        Draws (S, B, D), an empty tensor without noise, and KL (S, B).
    """
    z, kl = loc.new_empty(0) if noise is None else torch.empty_like(noise), loc.new_empty(seen.shape[:2])
    _run("forward", loc, seen, prior, [loc, log_var, seen, noise, *_pair(target), z, None, kl])
    return z, kl


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
    gradients = [torch.zeros_like(loc), torch.zeros_like(loc), *(torch.zeros_like(t) for t in target)]
    inputs = [loc, log_var, seen, noise, *_pair(target), g_z, None, g_kl]
    _run("backward", loc, seen, prior, [*inputs, *gradients, *([] if target else [None, None])])
    return gradients


def _pair(target: Sequence[Tensor]) -> Sequence[Tensor | None]:
    return target or [None, None]


def _run(name: str, loc: Tensor, seen: Tensor, prior: bool, tensors: list[Tensor | None]) -> None:
    function: Callable[..., int] = getattr(library(SOURCE, loc.dtype), name)
    subsets, rows, experts = seen.shape
    sizes = array(experts, subsets, rows, loc.shape[-1], int(prior))
    at = addresses(*tensors)
    failed: list[bool] = []

    def call(first: int, last: int) -> None:
        if function(sizes, *at, *numbers(first, last)):
            failed.append(True)

    over_rows(call, rows, experts * subsets * rows * loc.shape[-1])
    if failed:
        raise MemoryError("product of experts: no memory for the working tile")
