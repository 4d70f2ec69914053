"""Pairs of rows of the same class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CHUNK = 4096  # images that are worked on at once: bounds what is needed beside them to tens of MB


def another_of_class(labels: np.ndarray, split: np.ndarray, draw: torch.Generator) -> Tensor:
    """(N,) row numbers: for each row another one of its class in the same part of the split, evenly drawn.

    A row that is alone in its class and part gets itself.
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
    """(n,) of the row numbers `there`, of the class of each label; none comes again before its class is used up."""
    partner = torch.empty(len(labels), dtype=torch.int64)
    for digit in np.unique(labels):
        mine = torch.from_numpy(np.flatnonzero(labels == digit))
        rows = torch.from_numpy(there[others[there] == digit])
        rounds = -(-len(mine) // len(rows))
        order = torch.cat([torch.randperm(len(rows), generator=draw) for _ in range(rounds)])
        partner[mine] = rows[order[: len(mine)]]
    return partner


def floats(images: Tensor, rows: Tensor) -> Tensor:
    """(n, ...) of the uint8 images, in [0, 1]."""
    values = torch.empty((len(rows), *images.shape[1:]))
    for some in torch.arange(len(rows)).split(CHUNK):
        values[some] = images[rows[some]].float().div_(255)
    return values
