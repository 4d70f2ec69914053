"""Seeded random generators."""

from __future__ import annotations

import hashlib

import torch


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
