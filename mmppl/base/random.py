"""Seeded random generators."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Make a random generator that belongs to one purpose.

    Draws for one purpose never shift those for another, and none touches the global state.

    Args:
        seed: the user's seed.
        *purpose: words and numbers that name the purpose.

    Returns:
        A CPU generator, the same for the same seed and purpose.
    """
    key = hashlib.sha256(repr((int(seed), *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1)


def off_the_ends(u: Tensor) -> Tensor:
    """Keep uniforms off 0 and 1, where an inverse distribution function is infinite.

    Args:
        u: numbers in [0, 1], of any shape.

    Returns:
        The same, at least half a machine epsilon from both ends.
    """
    eps = torch.finfo(u.dtype).eps
    return u.clamp(eps / 2, 1 - eps / 2)
