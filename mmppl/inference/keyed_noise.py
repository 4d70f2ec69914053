"""Random numbers keyed by (seed, site, row, draw), so that the draws of a row do not depend on the rows around it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from pyro.distributions import Delta
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ..base.random import off_the_ends
from ..kernels.philox import WORD, keyed_uniforms
from ..objectives.traces import is_random


def row_keys(ids: np.ndarray) -> Tensor:
    """Turn row ids into keys.

    Args:
        ids: (B,) integers or text.

    Returns:
        (B, 2) int64, words of 32 bits.
    """
    if ids.dtype.kind in "iu":
        words = torch.from_numpy(ids.astype(np.int64))
    else:
        hashed = [
            int.from_bytes(hashlib.blake2b(str(i).encode(), digest_size=8).digest(), "little", signed=True) for i in ids
        ]
        words = torch.tensor(hashed, dtype=torch.int64)
    return torch.stack([words & WORD, (words >> 32) & WORD], -1)


def uniforms(
    seed: int, site: str, rows: Tensor, draws: int, size: int, dtype: torch.dtype = torch.float32, *, first: int = 0
) -> Tensor:
    """Draw keyed uniform numbers.

    Args:
        seed: the seed.
        site: the name of the random variable.
        rows: (B, 2) from `row_keys`.
        draws: the number of draws.
        size: the number of uniforms per draw.
        dtype: the type of the numbers.
        first: the number of the first of these draws.

    Returns:
        (draws, B, size) in (0, 1).
    """
    digest = hashlib.blake2b(f"{seed}/{site}".encode(), digest_size=8).digest()
    key = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))
    return keyed_uniforms(key, rows, first, draws, size, dtype)


class KeyedNoise(Messenger):
    """Inside this context every random variable of shape (draws, B, ...) draws by inversion of `uniforms`.

    Its distribution must have `from_uniform((draws, B, size)) -> draws`, where `size` is its attribute `uniforms` or
    else the size of an event; or it must have an `icdf`, or be a Delta, which needs no noise.

    Args:
        seed: the seed.
        ids: (B,) ids of the rows.
        draws: the number of draws.
        first: the number of the first of these draws.
        unread: names whose draws nobody reads. They become zeros if no other variable can depend on them, which
            `observe` marks with infer={"leaf": True}.
    """

    def __init__(self, seed: int, ids: np.ndarray, draws: int, *, first: int = 0, unread: Collection[str] = ()) -> None:
        super().__init__()
        self.seed, self.rows, self.draws, self.first, self.unread = seed, row_keys(ids), draws, first, unread

    def _pyro_sample(self, message: Any) -> None:
        if message["is_observed"] or message["value"] is not None or not is_random(message):
            return
        fn = message["fn"]
        if message["name"] in self.unread and message["infer"].get("leaf"):
            message["value"] = torch.zeros(()).expand(fn.shape())
            return
        size = getattr(fn, "uniforms", fn.event_shape.numel())
        dtype = torch.get_default_dtype()
        u = uniforms(self.seed, message["name"], self.rows, self.draws, size, dtype, first=self.first)
        if hasattr(fn, "from_uniform"):
            message["value"] = fn.from_uniform(u)
            return
        base = fn
        while hasattr(base, "base_dist"):
            base = base.base_dist
        if isinstance(base, Delta):
            message["value"] = base.v.expand(self.draws, len(self.rows), *fn.event_shape)
            return
        message["value"] = base.icdf(off_the_ends(u.reshape(self.draws, len(self.rows), *fn.event_shape)))
