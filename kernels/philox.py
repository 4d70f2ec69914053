"""Counter-based random numbers: a number depends only on its key and counter, not on what else is drawn, or when.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3": Philox 4×32, 10 rounds.
"""

import torch
from torch import Tensor

from . import philox_c
from .codegen import c_backend

WORD = 2**32 - 1
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Compute four words of 32 random bits for each counter.

    Args:
        counter: four int64 tensors of 32-bit words, which broadcast against each other.
        key: two 32-bit words.

    Returns:
        Four int64 tensors of 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]  # int64 wraps; the 64 bits are those of the product
        c0, c1, c2, c3 = ((b >> 32) & WORD) ^ c1 ^ k0, b & WORD, ((a >> 32) & WORD) ^ c3 ^ k1, a & WORD
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


def keyed_uniforms(
    key: tuple[int, int], rows: Tensor, first: int, draws: int, size: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Draw uniforms in (0, 1): the word w becomes (w + ½)/2³² (which float32 may round to 1).

    Args:
        key: two 32-bit words.
        rows: (B, 2) int64 words of 32 bits that name each row.
        first: the number of the first draw.
        draws: the number of draws.
        size: the number of uniforms per row and draw.
        dtype: of the uniforms.

    Returns:
        (draws, B, size).

    Raises:
        ValueError: `rows` is not (B, 2) int64.
    """
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype != torch.int64:
        raise ValueError(f"keyed_uniforms: expected rows (B, 2) int64; got {tuple(rows.shape)} {rows.dtype}.")
    out = torch.empty(draws, len(rows), size, dtype=dtype)
    if c_backend.runs(out):
        philox_c.fill(out, key, rows, first)
        return out
    return _plain(key, rows, first, draws, size, dtype)


def _plain(key: tuple[int, int], rows: Tensor, first: int, draws: int, size: int, dtype: torch.dtype) -> Tensor:
    draw = torch.arange(first, first + draws).reshape(-1, 1, 1)
    block = torch.arange(-(-size // 4))
    words = philox((rows[:, :1], rows[:, 1:], draw, block), key)
    bits = torch.stack(torch.broadcast_tensors(*words), -1).flatten(-2)[..., :size]
    return ((bits.to(torch.float64) + 0.5) / 2**32).to(dtype)
