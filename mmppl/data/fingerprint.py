"""Fingerprints of data sets, computed from one number per row and modality.

Masked rows count as zero. The fingerprints of a data set and of the same data set with some rows masked therefore take
one pass over its values.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..base.disk.maps import row_blocks

if TYPE_CHECKING:
    from ..modalities.modality import Modality

CHUNK = 2**18  # numbers processed at once, so that they stay in the cache


def row_digests(value: Tensor, there: Tensor | None = None) -> np.ndarray:
    """Compute one number from the bits of every row.

    The number is Σᵢ wᵢ xᵢ mod 2⁶⁴ over the row's 32-bit words xᵢ with fixed odd weights wᵢ (multilinear hashing, Lemire
    & Kaser 2014, arXiv:1202.4961). Rows that differ in one word always get different numbers. Rows that differ in
    several words get the same number with probability 2⁻³² (over random weights). This takes half the time of SHA-256
    on processors that have no instruction for it, and a row of zeros gets the number 0.

    Args:
        value: (N, *shape) float32 or int64.
        there: bool, broadcastable to (N, *shape); elsewhere the words are taken for 0. None: all.

    Returns:
        (N,) uint64.
    """
    width = math.prod(value.shape[1:]) * value.element_size() // 4
    weights, found = _weights(width), np.zeros(len(value), np.uint64)
    step = max(1, CHUNK // max(1, width))
    for block in row_blocks(value):
        for at in range(block.start, min(block.stop, len(value)), step):
            rows = slice(at, min(at + step, block.stop))
            part = value[rows] if there is None else torch.where(there[rows], value[rows], 0)
            words = np.ascontiguousarray(part.numpy()).reshape(len(part), -1).view(np.uint32)
            found[rows] = words.astype(np.uint64) @ weights
    return found


def _weights(count: int) -> np.ndarray:
    """(count,) odd uint64: the first numbers of SplitMix64 (Steele, Lea & Flood 2014)."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)


def dataset_fingerprint(
    modalities: Sequence[Modality],
    ids: np.ndarray,
    split: np.ndarray,
    observed: Mapping[str, Tensor],
    digests: Mapping[str, np.ndarray],
    drawn_by: str | None,
    annotations: bytes = b"",
    present: Mapping[str, Tensor] = {},
) -> str:
    """Compute the fingerprint of a data set.

    Args:
        modalities: its schema.
        ids: (N,) int64 or str.
        split: (N,) int8.
        observed: name → (N,) bool.
        digests: name → (N,) uint64 from `row_digests`; names may be left out.
        drawn_by: the name of the data set if its train rows are drawn anew in every epoch, else None.
        annotations: their hash; empty if there are none.
        present: name → bool, broadcastable to (N, *shape), the elements that rows have, of modalities of which a row
            may lack some.

    Returns:
        A SHA-256 hash as 64 hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([m.to_json() for m in modalities], sort_keys=True).encode())
    digest.update(json.dumps([ids.dtype.kind, ids.tolist(), drawn_by]).encode())
    digest.update(np.ascontiguousarray(split).data)
    for m in modalities:
        there = observed[m.name].numpy()
        digest.update(np.ascontiguousarray(there).data)
        if m.name in digests:
            digest.update(np.where(there, digests[m.name], np.uint64(0)).data)
        if m.name in present:
            elements = present[m.name].numpy()
            digest.update(np.ascontiguousarray(elements & there.reshape(-1, *[1] * (elements.ndim - 1))).data)
    digest.update(annotations)
    return digest.hexdigest()
