"""The parts of a data set (train, valid, test): their codes, and seeded, stratified splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ..base.random import generator
from ..modalities.kinds import kind

if TYPE_CHECKING:
    from ..modalities.modality import Modality
    from .dataset import Dataset

Part = Literal["train", "valid", "test"]
GROUP = "group"  # the annotation whose rows stay together in a split
PARTS: tuple[Part, ...] = ("train", "valid", "test")  # the code of a part is its position here
PART_OF: dict[str, Part] = {
    "train": "train", "valid": "valid", "val": "valid", "dev": "valid", "validation": "valid", "test": "test"
}  # fmt: skip  # how files call them
SHARES = (0.7, 0.1, 0.2)
ENOUGH = 10  # rows of a stratum, of which a part of a tenth gets one


def stratified_split(
    groups: np.ndarray, *, seed: int, shares: Sequence[float] = SHARES, units: np.ndarray | None = None
) -> np.ndarray:
    """Draw a split in which every group has the same shares, up to one row.

    Args:
        groups: (N,) integers, such as class codes; −1 may stand for "unknown".
        seed: the seed of the draw.
        shares: the shares of train, valid and test; they sum to 1.
        units: (N,) what belongs together, such as the rows of a person; each unit comes into one part as a whole, with
            the group of most of its rows. None: every row stands alone.

    Returns:
        (N,) int8 codes of `PARTS`. Every group keeps at least one train row, because a model cannot know a class that
        it never saw. The totals are within one row of the shares as far as that allows.
    """
    if units is not None:
        of_units, which = _groups_of_units(groups, units)
        return stratified_split(of_units, seed=seed, shares=shares)[which]
    split = np.zeros(len(groups), dtype=np.int8)
    draw = generator(seed, "split")
    owed = np.zeros(len(PARTS))  # rows that each part still lacks because earlier groups were rounded
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


def _groups_of_units(groups: np.ndarray, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the group that most rows of each unit have, and the number of each row's unit."""
    names, which = np.unique(units, return_inverse=True)
    pairs, counts = np.unique(np.stack([which, groups], -1), axis=0, return_counts=True)
    of_units = np.zeros(len(names), np.int64)
    for unit, group in pairs[np.argsort(counts, kind="stable")]:
        of_units[unit] = group  # the most frequent one comes last
    return of_units, which


def stratifying(modalities: Sequence[Modality]) -> list[Modality]:
    """Return the labels that a split is stratified by: those with one class per row, and vectors of 0 and 1.

    Args:
        modalities: the schema.

    Returns:
        The labels, in order.
    """
    return [
        m for m in modalities
        if m.role == "label" and (m.size == 1 if m.classes else kind(m) == "tags")
    ]  # fmt: skip


def strata_of(dataset: Dataset) -> np.ndarray:
    """Return the strata of the rows of a data set by its labels.

    Args:
        dataset: the rows.

    Returns:
        (N,) int64 codes: of one label of classes its codes, −1 where it is missing; of several see `combined`. Zeros
        if there is no label to stratify by.
    """
    labels = stratifying(dataset.modalities)
    columns = [
        np.where(
            dataset.observed[m.name].numpy()[:, None], dataset.values[m.name].reshape(len(dataset), -1).numpy(), -1
        )
        for m in labels
    ]
    return combined(columns, len(dataset))


def combined(labels: Sequence[np.ndarray], rows: int) -> np.ndarray:
    """Combine labels into strata: the cross of their classes, as far as its cells have `ENOUGH` rows.

    Rows of smaller cells share the stratum that they have by the labels before. Of a label with several columns of 0
    and 1 a row counts under the rarest column that is 1, which is the order in which Sechidis, Tsoumakas & Vlahavas
    2011 ("On the stratification of multi-label data") deal rows.

    Args:
        labels: (N, columns) whole numbers each, −1 where a row lacks the label.
        rows: N.

    Returns:
        (N,) int64 codes; those of the first label itself if it is the only one and has one column.

    Example:
        >>> first, second = np.repeat([0, 1], 20), np.tile([0, 1], 20)
        >>> np.unique(combined([first[:, None], second[:, None]], 40), return_counts=True)[1]
        array([10, 10, 10, 10])
    """
    columns = [label[:, 0] if label.shape[1] == 1 else _rarest(label) for label in labels]
    if not columns:
        return np.zeros(rows, np.int64)
    strata = columns[0].astype(np.int64)
    for column in columns[1:]:
        pairs, which, counts = np.unique(
            np.stack([strata, column], -1), axis=0, return_inverse=True, return_counts=True
        )
        codes = np.where(counts >= ENOUGH, len(strata) + np.arange(len(pairs)), pairs[:, 0])  # apart from codes so far
        strata = np.unique(codes[which.reshape(-1)], return_inverse=True)[1].reshape(-1)
    return strata


def _rarest(label: np.ndarray) -> np.ndarray:
    """(N,) the rarest column that is 1 in a row, from 1 on; 0 where none is, −1 where the label is missing."""
    order = np.argsort((label == 1).sum(0), kind="stable")
    ones = label[:, order] == 1
    found = np.where(ones.any(1), order[ones.argmax(1)] + 1, 0)
    return np.where((label == -1).all(1), -1, found)


def stratified_folds(groups: np.ndarray, folds: int, *, seed: int, units: np.ndarray | None = None) -> np.ndarray:
    """Deal rows into folds, group after group, so that folds and groups in folds differ by at most one row.

    Args:
        groups: (N,) integers, such as class codes.
        folds: their number.
        seed: the seed of the draw.
        units: see `stratified_split`.

    Returns:
        (N,) int64 numbers of the folds, counted from 0.

    Example:
        >>> stratified_folds(np.array([0, 0, 0, 1, 1, 1]), 3, seed=0).reshape(2, 3).sum(1)
        array([3, 3])
    """
    if units is not None:
        of_units, which = _groups_of_units(groups, units)
        return stratified_folds(of_units, folds, seed=seed)[which]
    draw, dealt, fold = generator(seed, "folds"), 0, np.zeros(len(groups), np.int64)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        rows = rows[torch.randperm(len(rows), generator=draw).numpy()]
        fold[rows] = (dealt + np.arange(len(rows))) % folds
        dealt += len(rows)
    return fold


def with_valid(split: np.ndarray, groups: np.ndarray, *, seed: int, units: np.ndarray | None = None) -> np.ndarray:
    """Turn a stratified tenth of the train rows into valid rows, unless the split has some already.

    Args:
        split: (N,) int8 codes of `PARTS`.
        groups: (N,) integers to stratify by.
        seed: the seed of the draw.
        units: see `stratified_split`.

    Returns:
        (N,) int8 codes; `split` itself if it has valid rows.
    """
    if (split == 1).any():
        return split
    train = np.flatnonzero(split == 0)
    split = split.copy()
    units = None if units is None else units[train]
    split[train] = stratified_split(groups[train], seed=seed, shares=(0.9, 0.1, 0.0), units=units)
    return split
