"""Fingerprints of data sets, made of one number per row and modality.

Rows that are masked count as zero, so the fingerprints of a data set and of the same one with some rows masked come
from one pass over its values.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from ..modalities.modality import Modality

CHUNK = 2**18  # numbers that are worked on at once, so that they stay in the cache


def row_digests(value: Tensor) -> np.ndarray:
    """One number for the bits of every row.

    It is Σᵢ wᵢ xᵢ mod 2⁶⁴ over the row's 32-bit words xᵢ with fixed odd weights wᵢ (multilinear hashing, Lemire & Kaser
    2014, arXiv:1202.4961). A row that differs in one word always has another number; for rows that differ in several
    the chance of the same number is 2⁻³² (over random weights). It takes half the time of SHA-256 where processors have
    no instruction for that, and a row of zeros has the number 0.

    Args:
        value: (N, *shape) float32 or int64.
    Returns:
        (N,) uint64.
    """
    words = np.ascontiguousarray(value.numpy()).reshape(len(value), math.prod(value.shape[1:])).view(np.uint32)
    weights = _weights(words.shape[1])
    step = max(1, CHUNK // max(1, words.shape[1]))
    parts = [words[at : at + step].astype(np.uint64) @ weights for at in range(0, len(words), step)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _weights(count: int) -> np.ndarray:
    """(count,) odd uint64: the first numbers of SplitMix64 (Steele, Lea & Flood 2014)."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)


def combined(
    modalities: Sequence[Modality],
    ids: np.ndarray,
    split: np.ndarray,
    observed: Mapping[str, Tensor],
    digests: Mapping[str, np.ndarray],
    drawn_by: str | None,
) -> str:
    """The fingerprint of a data set.

    Args:
        modalities: its schema.
        ids: (N,) int64 or str.
        split: (N,) int8.
        observed: name → (N,) bool.
        digests: name → (N,) uint64, the numbers of the rows; names may be left out.
        drawn_by: name of the data set, where its train rows are drawn afresh.
    Returns:
        sha256, 64 hex digits.
    """
    digest = hashlib.sha256(json.dumps([m.to_json() for m in modalities], sort_keys=True).encode())
    digest.update(json.dumps([ids.dtype.kind, ids.tolist(), drawn_by]).encode())
    digest.update(np.ascontiguousarray(split).data)
    for m in modalities:
        there = observed[m.name].numpy()
        digest.update(np.ascontiguousarray(there).data)
        if m.name in digests:
            digest.update(np.where(there, digests[m.name], np.uint64(0)).data)
    return digest.hexdigest()
