"""Two views of one class: a rotated image, and another image of the class under noise.

Source: Wang et al. 2015, arXiv:1602.01024 (noisy MNIST), as used in arXiv:2110.04616.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...modalities.modality import Modality
from ..dataset import Dataset
from ..splits import generator

CHUNK = 4096  # images that are worked on at once: bounds what is needed beside them to tens of MB


def rotate_images(images: Tensor, radians: Tensor) -> Tensor:
    """(N, H, W) images in [0, 1], each turned about its centre by its angle (N,), bilinearly, zeros from outside."""
    turned = torch.empty_like(images)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    aspect = images.shape[1] / images.shape[2]  # the grid runs from −1 to 1 along either side, however long
    theta = torch.stack([cos, -sin * aspect, zero, sin / aspect, cos, zero], -1).reshape(-1, 2, 3)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].unsqueeze(1)
        grid = F.affine_grid(theta[start : start + CHUNK], list(chunk.shape), align_corners=False)
        turned[start : start + CHUNK] = F.grid_sample(chunk, grid, padding_mode="zeros", align_corners=False).squeeze(1)
    return turned.clamp_(0, 1)  # the bilinear weights sum to 1 only up to rounding


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


def random_rotation(images: Tensor, draw: torch.Generator) -> Tensor:
    """(N, H, W) images, each rotated by its own angle from U[−45°, 45°]."""
    return rotate_images(images, (2 * torch.rand(len(images), generator=draw) - 1) * (math.pi / 4))


def two_view(
    images: Tensor, labels: np.ndarray, split: np.ndarray, *, rotate: str = "fixed", seed: int = 0, name: str
) -> Dataset:
    """`rotated` (Bernoulli), `noisy` (Normal, predicted scale) and `label` from labelled grey images.

    Args:
        images: (N, H, W) float32 in [0, 1].
        labels: (N,) whole numbers; the classes are those that occur.
        split: (N,) int8, 0 train, 1 valid, 2 test; a noisy partner never comes from another part.
        rotate: "fixed": one angle per row for good; "fresh": the same, and `refresh` draws new ones per epoch.
        seed: of angles, partners and noise; the split does not move them but for the partners.
    """
    partner = another_of_class(labels, split, generator(seed, "partner"))
    noisy = torch.rand(images.shape, generator=generator(seed, "noise")).add_(images[partner]).clamp_(0, 1)
    classes, codes = np.unique(labels, return_inverse=True)
    train = images[torch.from_numpy(np.flatnonzero(split == 0))] if rotate == "fresh" else None

    def refresh(seed: int, epoch: int) -> dict[str, Tensor]:
        assert train is not None  # else it is not handed out below
        return {"rotated": random_rotation(train, generator(seed, "fresh rotation", epoch))}

    shape = tuple(images.shape[1:])
    n = len(images)
    return Dataset(
        name=name,
        modalities=(
            Modality("rotated", shape, "bernoulli"),
            Modality("noisy", shape, "normal", scale="predicted"),
            Modality("label", (), "categorical", role="label", classes=tuple(classes.tolist())),
        ),
        values={
            "rotated": random_rotation(images, generator(seed, "rotation")),
            "noisy": noisy,
            "label": torch.from_numpy(codes.astype(np.int64)),
        },
        observed={key: torch.ones(n, dtype=torch.bool) for key in ("rotated", "noisy", "label")},
        ids=np.arange(n),
        split=split.astype(np.int8),
        has_split=True,
        refresh=None if train is None else refresh,
    )
