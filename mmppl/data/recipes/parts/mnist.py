"""MNIST from its idx files, plain or gzipped (LeCun, Bottou, Bengio & Haffner 1998)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....errors import DataError
from ...readers.papers.idx import read_idx
from .files import Files

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _fetch(root: Path) -> None:
    from torchvision.datasets import MNIST

    MNIST(str(root), download=True)


# Our own folder, and the two where torchvision may have put the files.
PLACES = Files(FILES, ("mnist", "MNIST/raw", "mnist/MNIST/raw"), _fetch, endings=("", ".gz"))


def load_mnist(recipe: str, root: Path | None, download: bool) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Read MNIST.

    Args:
        recipe: the name of the recipe, for messages.
        root: the folder that holds `mnist/`; None means $MMPPL_DATA.
        download: if True, torchvision downloads missing files.

    Returns:
        (70000, 28, 28) images in [0, 1], (70000,) int64 labels, and (70000,) int8 codes of the parts in the order of
        the files: 50,000 train, 10,000 valid, 10,000 test.

    Raises:
        DataError: files are missing, truncated or corrupt.
    """
    found = PLACES.find(recipe, root, download)
    train_images, train_labels, test_images, test_labels = (read_idx(path) for path in found)
    if [len(train_images), len(train_labels), len(test_images), len(test_labels)] != [60_000, 60_000, 10_000, 10_000]:
        raise DataError(
            f"{recipe}: {len(train_images):,} and {len(test_images):,} images, {len(train_labels):,} and "
            f"{len(test_labels):,} labels instead of 60,000 and 10,000 each; fetch the four files again."
        )
    if train_images.ndim != 3 or train_images.shape[1:] != test_images.shape[1:] or not train_images.size:
        raise DataError(
            f"{recipe}: images of shape {train_images.shape} and {test_images.shape} instead of (60000, 28, 28) and "
            "(10000, 28, 28); fetch the four files again."
        )
    for part, digits in (("train", train_labels), ("t10k", test_labels)):
        if digits.ndim != 1 or digits.max() > 9:
            raise DataError(f"{recipe}: the labels of {part} are not one digit each; fetch the four files again.")
    images = torch.from_numpy(np.concatenate([train_images, test_images])).to(torch.float32).div_(255)
    labels = np.concatenate([train_labels, test_labels]).astype(np.int64)
    split = np.zeros(len(images), dtype=np.int8)
    split[50_000:60_000] = 1
    split[60_000:] = 2
    return images, labels, split
