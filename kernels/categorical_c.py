"""Categorical log-density in C: each row is read once for its maximum, its sum of exponentials and its class."""

import torch
from torch import Tensor

from .codegen.c_backend import addresses, library, numbers, over_rows, working

SOURCE = """
static inline real peak_of(const stored *a, int64_t K) {
    real peak = READ(a[0]);
    _Pragma("omp simd reduction(max : peak)")
    for (int64_t k = 0; k < K; k++) { real v = READ(a[k]); peak = v > peak ? v : peak; }
    return peak;
}
static inline real mass_of(const stored *a, real peak, int64_t K) {
    real mass = 0;
    _Pragma("omp simd reduction(+ : mass)")
    for (int64_t k = 0; k < K; k++) mass += EXP(READ(a[k]) - peak);
    return mass;
}

void forward(const stored *logits, const int64_t *codes, const uint8_t *mask, real *out, int64_t *bad, int64_t L, int64_t K, int64_t first, int64_t last) {
    for (int64_t r = first; r < last; r++) {
        double total = 0;
        if (!mask || mask[r])
            for (int64_t l = 0; l < L; l++) {
                if (codes[r * L + l] < 0 || codes[r * L + l] >= K) { *bad = 1; continue; }
                const stored *a = logits + (r * L + l) * K;
                real peak = peak_of(a, K);
                total += READ(a[codes[r * L + l]]) - peak - LOG(mass_of(a, peak, K));
            }
        out[r] = (real)total;
    }
}

void backward(const stored *logits, const int64_t *codes, const uint8_t *mask, const real *g, stored *slope, int64_t L, int64_t K, int64_t first, int64_t last) {
    for (int64_t r = first; r < last; r++)
        for (int64_t l = 0; l < L; l++) {
            const stored *a = logits + (r * L + l) * K;
            stored *restrict s = slope + (r * L + l) * K;
            if (mask && !mask[r]) { for (int64_t k = 0; k < K; k++) s[k] = 0; continue; }
            const real peak = peak_of(a, K), w = -g[r] / mass_of(a, peak, K);
            const int64_t code = codes[r * L + l];
            _Pragma("omp simd")
            for (int64_t k = 0; k < K; k++) s[k] = ROUND(w * EXP(READ(a[k]) - peak) + (k == code ? g[r] : (real)0));
        }
}
"""


def forward(logits: Tensor, codes: Tensor, mask: Tensor | None) -> Tensor:
    """The log-density of each row.

    Args:
        logits: (R, L, K), contiguous.
        codes: (R, L) int64.
        mask: (R,), or None.

    Returns:
        (R,).

    Raises:
        IndexError: a code is not a class.
    """
    rows, length, classes = logits.shape
    real = working(logits.dtype)
    out, bad = logits.new_empty(rows, dtype=real), torch.zeros(1, dtype=torch.int64)
    code, codes = library(SOURCE, real, logits.dtype), codes.contiguous()
    at = addresses(logits, codes, mask, out, bad)
    over_rows(lambda *part: code.forward(*at, *numbers(length, classes, *part)), rows, logits.numel())
    if bad:
        raise IndexError(f"categorical: a code lies outside 0 to {classes - 1}.")
    return out


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
    rows, length, classes = logits.shape
    slope = torch.empty_like(logits)
    code, codes = library(SOURCE, working(logits.dtype), logits.dtype), codes.contiguous()
    at = addresses(logits, codes, mask, g, slope)
    over_rows(lambda *part: code.backward(*at, *numbers(length, classes, *part)), rows, logits.numel())
    return slope
