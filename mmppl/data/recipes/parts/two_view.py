"""Two views of one class: a rotated image, and another image of the class under noise.

Source: Wang et al. 2015, arXiv:1602.01024 (noisy MNIST), as used in arXiv:2110.04616.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ....base.random import generator
from ....modalities.modality import Modality
from ...dataset import Dataset
from .pairing import another_of_class
from .transforms import random_rotation


def two_view(
    images: Tensor, labels: np.ndarray, split: np.ndarray, *, rotate: str = "fixed", seed: int = 0, name: str
) -> Dataset:
    """Make `rotated` (Bernoulli), `noisy` (Normal, predicted scale) and `label` from labelled grey images.

    Args:
        images: (N, H, W) float32 in [0, 1].
        labels: (N,) whole numbers; the classes are those that occur.
        split: (N,) int8, 0 train, 1 valid, 2 test; a noisy partner always comes from the same part.
        rotate: "fixed" gives every row one angle for good; "fresh" does too, and `refresh` draws new ones in every
            epoch.
        seed: the seed of angles, partners and noise; of these only the partners depend on the split.
        name: the name of the data set.

    Returns:
        The data set.
    """
    partner = another_of_class(labels, split, generator(seed, "partner"))
    noisy = torch.rand(images.shape, generator=generator(seed, "noise")).add_(images[partner]).clamp_(0, 1)
    classes, codes = np.unique(labels, return_inverse=True)
    train = images[torch.from_numpy(np.flatnonzero(split == 0))] if rotate == "fresh" else None

    def refresh(seed: int, epoch: int) -> dict[str, Tensor]:
        assert train is not None  # `refresh` is returned only then
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
