"""MNIST in two views."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...dataset import Dataset
from ..parts.mnist import load_mnist
from ..parts.two_view import two_view
from ..registry import recipe


@recipe("mnist-two-view")
def mnist_two_view(
    root: Path | None = None,
    download: bool = False,
    *,
    rotate: Literal["fixed", "fresh"] = "fixed",
    seed: int = 0,
) -> Dataset:
    """70,000 28×28 digits: rotated; another one of the class with noise; label.

    Needs: the four idx files of MNIST (gz or raw) in ROOT/mnist, or --download.

    The rows keep the order of MNIST's files: 50,000 train, 10,000 valid, 10,000 test.

    Args:
        root: the folder that holds `mnist/`; None means $MMPPL_DATA.
        download: if True, torchvision downloads missing files.
        rotate: "fixed" gives every row one angle for good; "fresh" draws a new one in every epoch.
        seed: the seed of angles, partners and noise.

    Returns:
        The data set.

    Raises:
        DataError: files are missing, truncated or corrupt.
    """
    images, labels, split = load_mnist("mnist-two-view", root, download)
    return two_view(images, labels, split, rotate=rotate, seed=seed, name=f"mnist-two-view:rotate={rotate},seed={seed}")
