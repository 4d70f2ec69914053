"""Pairs of rows within a class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CHUNK = 4096  # images processed at once, which bounds temporary memory to tens of MB


def another_of_class(labels: np.ndarray, split: np.ndarray, draw: torch.Generator) -> Tensor:
    """Draw for each row another row of its class and its part of the split, all equally likely.

    Args:
        labels: (N,) classes.
        split: (N,) codes of the parts.
        draw: the random generator.

    Returns:
        (N,) row numbers; a row that is alone in its class and part gets itself.
    """
    partner = torch.arange(len(labels))
    for part in np.unique(split):
        for label in np.unique(labels):
            rows = torch.from_numpy(np.flatnonzero((split == part) & (labels == label)))
            if len(rows) > 1:
                step = torch.randint(1, len(rows), (len(rows),), generator=draw)
                partner[rows] = rows[(torch.arange(len(rows)) + step) % len(rows)]
    return partner


def in_turn(labels: np.ndarray, others: np.ndarray, there: np.ndarray, draw: torch.Generator) -> Tensor:
    """Draw a row of the same class for each label; no row is repeated before its class is used up.

    Args:
        labels: (n,) classes.
        others: (N,) classes of the rows to draw from.
        there: the row numbers that may be drawn.
        draw: the random generator.

    Returns:
        (n,) row numbers.
    """
    partner = torch.empty(len(labels), dtype=torch.int64)
    for digit in np.unique(labels):
        mine = torch.from_numpy(np.flatnonzero(labels == digit))
        rows = torch.from_numpy(there[others[there] == digit])
        rounds = -(-len(mine) // len(rows))
        order = torch.cat([torch.randperm(len(rows), generator=draw) for _ in range(rounds)])
        partner[mine] = rows[order[: len(mine)]]
    return partner


def floats(images: Tensor, rows: Tensor) -> Tensor:
    """Select uint8 images and bring them to [0, 1].

    Args:
        images: (N, ...) uint8.
        rows: (n,) row numbers.

    Returns:
        (n, ...) float32.
    """
    values = torch.empty((len(rows), *images.shape[1:]))
    for some in torch.arange(len(rows)).split(CHUNK):
        values[some] = images[rows[some]].float().div_(255)
    return values
