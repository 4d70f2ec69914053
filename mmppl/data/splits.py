"""The parts of a data set (train, valid, test): codes, and splits that are seeded and stratified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ..base.random import generator

if TYPE_CHECKING:
    from ..modalities.modality import Modality

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")  # a part's code is its place here
SHARES = (0.7, 0.1, 0.2)


def stratified_split(groups: np.ndarray, *, seed: int, shares: Sequence[float] = SHARES) -> np.ndarray:
    """Draw a split in which every group (a class, or −1 for "not known") has the same shares up to one row.

    Args:
        groups: (N,) integers.
        seed: of the draw.
        shares: of train, valid and test; they sum to 1.
    Returns:
        (N,) int8 codes of `PARTS`. Every group keeps at least one train row, since what is never trained on cannot be
        known; the totals are within one row of the shares as far as that allows.
    """
    split = np.zeros(len(groups), dtype=np.int8)
    draw = generator(seed, "split")
    owed = np.zeros(len(PARTS))  # rows that rounding in earlier groups still owes to each part
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        rows = rows[torch.randperm(len(rows), generator=draw).numpy()]
        taken = 0
        for code in (1, 2):
            wanted = owed[code] + shares[code] * len(rows)
            count = int(np.clip(np.floor(wanted + 0.5), 0, len(rows) - 1 - taken))
            split[rows[taken : taken + count]] = code
            owed[code] = wanted - count
            taken += count
    return split


def stratifying(modalities: Sequence[Modality]) -> Modality | None:
    """The label that a split is stratified by: the first with one class per row."""
    return next((m for m in modalities if m.role == "label" and m.classes is not None and m.size == 1), None)


def with_valid(split: np.ndarray, groups: np.ndarray, *, seed: int) -> np.ndarray:
    """The same split in which, if it had no valid rows, a stratified tenth of the train rows became valid."""
    if (split == 1).any():
        return split
    train = np.flatnonzero(split == 0)
    split = split.copy()
    split[train] = stratified_split(groups[train], seed=seed, shares=(0.9, 0.1, 0.0))
    return split
