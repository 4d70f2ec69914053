"""MNIST as images and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ....modalities.modality import Modality
from ...dataset import Dataset
from ..parts.mnist import load_mnist
from ..registry import recipe


@recipe("mnist-label")
def mnist_label(root: Path | None = None, download: bool = False) -> Dataset:
    """70,000 28×28 digits: image; label.

    Needs: the four idx files of MNIST (gz or raw) in ROOT/mnist, or --download.

    The rows keep the order of MNIST's files: 50,000 train, 10,000 valid, 10,000 test. The label is treated as a
    modality by programs with `see_labels` and by programs that encode labels, and by all others with `--as
    label=categorical:role=modality`.

    Args:
        root: the folder that holds `mnist/`; None means $MMPPL_DATA.
        download: if True, torchvision downloads missing files.

    Returns:
        The data set.

    Raises:
        DataError: files are missing, truncated or corrupt.
    """
    images, labels, split = load_mnist("mnist-label", root, download)
    return Dataset(
        name="mnist-label",
        modalities=(
            Modality("image", tuple(images.shape[1:]), "bernoulli"),
            Modality("label", (), "categorical", role="label", classes=tuple(range(10))),
        ),
        values={"image": images, "label": torch.from_numpy(labels)},
        observed={name: torch.ones(len(labels), dtype=torch.bool) for name in ("image", "label")},
        ids=np.arange(len(labels)),
        split=split,
        has_split=True,
    )
