"""Random numbers keyed by (seed, site, row, draw): what a row draws does not depend on the rows around it.

Source: Philox 4×32 with 10 rounds, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from .objective import is_random

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Four words of 32 random bits for each counter.

    Args: counter: four int64 tensors of 32-bit words, broadcast against each other; key: two 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]  # int64 wraps; the 64 bits are those of the product
        c0, c1, c2, c3 = ((b >> 32) & _WORD) ^ c1 ^ k0, b & _WORD, ((a >> 32) & _WORD) ^ c3 ^ k1, a & _WORD
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def row_keys(ids: np.ndarray) -> Tensor:
    """Row ids, integers or text, → (B, 2) int64 words of 32 bits."""
    if ids.dtype.kind in "iu":
        words = torch.from_numpy(ids.astype(np.int64))
    else:
        hashed = [
            int.from_bytes(hashlib.blake2b(str(i).encode(), digest_size=8).digest(), "little", signed=True) for i in ids
        ]
        words = torch.tensor(hashed, dtype=torch.int64)
    return torch.stack([words & _WORD, (words >> 32) & _WORD], -1)


def uniforms(
    seed: int, site: str, rows: Tensor, draws: int, size: int, dtype: torch.dtype = torch.float32, *, first: int = 0
) -> Tensor:
    """(draws, B, size) uniforms in (0, 1).

    Args: rows: (B, 2) from `row_keys`; site: name of the random variable; first: number of the first of these draws.
    """
    digest = hashlib.blake2b(f"{seed}/{site}".encode(), digest_size=8).digest()
    key = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))
    draw = torch.arange(first, first + draws).reshape(-1, 1, 1)
    block = torch.arange(-(-size // 4))
    words = philox((rows[:, :1], rows[:, 1:], draw, block), key)
    bits = torch.stack(torch.broadcast_tensors(*words), -1).flatten(-2)[..., :size]
    return ((bits.to(torch.float64) + 0.5) / 2**32).to(dtype)


class KeyedNoise(Messenger):
    """Inside, every random variable of shape (draws, B, ...) draws from `uniforms` by inversion.

    Its distribution must offer `from_uniform((draws, B, size)) -> draws`, where `size` is its `uniforms`, if it has the
    attribute, else the size of an event; or an `icdf`. `first` is the number of the first of these draws.
    """

    def __init__(self, seed: int, ids: np.ndarray, draws: int, *, first: int = 0) -> None:
        super().__init__()
        self.seed, self.rows, self.draws, self.first = seed, row_keys(ids), draws, first

    def _pyro_sample(self, message: Any) -> None:
        if message["is_observed"] or message["value"] is not None or not is_random(message):
            return
        fn = message["fn"]
        size = getattr(fn, "uniforms", fn.event_shape.numel())
        dtype = torch.get_default_dtype()
        u = uniforms(self.seed, message["name"], self.rows, self.draws, size, dtype, first=self.first)
        if hasattr(fn, "from_uniform"):
            message["value"] = fn.from_uniform(u)
            return
        base = fn
        while hasattr(base, "base_dist"):
            base = base.base_dist
        eps = torch.finfo(dtype).eps
        message["value"] = base.icdf(u.reshape(self.draws, len(self.rows), *fn.event_shape).clamp(eps / 2, 1 - eps / 2))
