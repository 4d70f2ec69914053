"""Philox in C: each lane has a counter of its own, and no word of it is kept in memory."""

from torch import Tensor

from .codegen.c_backend import addresses, library, numbers, over_rows

SOURCE = """
static inline void four(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1, real *restrict u) {
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)c0 * 0xD2511F53u, b = (uint64_t)c2 * 0xCD9E8D57u;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0; c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1; c3 = (uint32_t)a;
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
    u[0] = (real)((c0 + 0.5) * 0x1p-32); u[1] = (real)((c1 + 0.5) * 0x1p-32);
    u[2] = (real)((c2 + 0.5) * 0x1p-32); u[3] = (real)((c3 + 0.5) * 0x1p-32);
}

void fill(int64_t B, int64_t size, int64_t draw, int64_t k0, int64_t k1, const int64_t *rows, real *out, int64_t first, int64_t last) {
    for (int64_t r = first; r < last; r++) {
        const uint32_t c0 = (uint32_t)rows[2 * (r % B)], c1 = (uint32_t)rows[2 * (r % B) + 1];
        const uint32_t c2 = (uint32_t)(draw + r / B);
        real *restrict o = out + r * size;
        _Pragma("omp simd")
        for (int64_t j = 0; j < size / 4; j++) four(c0, c1, c2, (uint32_t)j, (uint32_t)k0, (uint32_t)k1, o + 4 * j);
        if (size % 4) {
            real rest[4];
            four(c0, c1, c2, (uint32_t)(size / 4), (uint32_t)k0, (uint32_t)k1, rest);
            for (int64_t i = 0; i < size % 4; i++) o[size / 4 * 4 + i] = rest[i];
        }
    }
}
"""


def fill(out: Tensor, key: tuple[int, int], rows: Tensor, first: int) -> None:
    """Fill a tensor with uniforms; see `philox.keyed_uniforms`.

    Args:
        out: (draws, B, size), contiguous.
        key: two 32-bit words.
        rows: (B, 2) int64 words.
        first: the number of the first draw.
    """
    draws, number, size = out.shape
    code, rows = library(SOURCE, out.dtype), rows.contiguous()
    fixed = numbers(number, size, first, *key)
    at = addresses(rows, out)
    over_rows(lambda *part: code.fill(*fixed, *at, *numbers(*part)), draws * number, 8 * out.numel())
