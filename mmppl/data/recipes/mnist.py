"""MNIST from its idx files, plain or gzipped (LeCun, Bottou, Bengio & Haffner 1998)."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ...modalities.modality import Modality
from ..dataset import Dataset
from .files import Files
from .two_view import two_view

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _fetch(root: Path) -> None:
    from torchvision.datasets import MNIST

    MNIST(str(root), download=True)


# The folders are ours, and the two places where torchvision may have put them.
PLACES = Files(FILES, ("mnist", "MNIST/raw", "mnist/MNIST/raw"), _fetch, endings=("", ".gz"))


def mnist_two_view(
    root: Path | None = None, *, rotate: str = "fixed", seed: int = 0, download: bool = False
) -> Dataset:
    """`two_view` of MNIST in the order of its files: 50,000 train, 10,000 valid, 10,000 test.

    Args:
        root: the folder that holds `mnist/`; default $MMPPL_DATA.
        download: let torchvision fetch files that are not there.
    Raises:
        DataError: files missing, truncated or corrupt.
    """
    images, labels, split = load_mnist("mnist-two-view", root, download)
    return two_view(images, labels, split, rotate=rotate, seed=seed, name=f"mnist-two-view:rotate={rotate},seed={seed}")


def mnist_label(root: Path | None = None, *, download: bool = False) -> Dataset:
    """`image` (28×28, Bernoulli) and `label`, in the order of the files: 50,000 train, 10,000 valid, 10,000 test.

    Programs with `see_labels` and those whose labels have encoders treat the label as a modality of its own; so does
    `--as label=categorical:role=modality` for all others. Args, errors: as of `mnist_two_view`.
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


def load_mnist(recipe: str, root: Path | None, download: bool) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Images (70000, 28, 28) in [0, 1], labels, and the split: 50,000 train, 10,000 valid, 10,000 test, in file order.

    Args: recipe: who asks, for the messages; the rest and the errors as of `mnist_two_view`.
    """
    found = PLACES.find(recipe, root, download)
    train_images, train_labels, test_images, test_labels = (read_idx(path) for path in found)
    if [len(train_images), len(train_labels), len(test_images), len(test_labels)] != [60_000, 60_000, 10_000, 10_000]:
        raise DataError(
            f"{recipe}: {len(train_images):,} and {len(test_images):,} images, {len(train_labels):,} and "
            f"{len(test_labels):,} labels instead of 60,000 and 10,000 each; fetch the four files again."
        )
    images = torch.from_numpy(np.concatenate([train_images, test_images])).to(torch.float32).div_(255)
    labels = np.concatenate([train_labels, test_labels]).astype(np.int64)
    split = np.zeros(len(images), dtype=np.int8)
    split[50_000:60_000] = 1
    split[60_000:] = 2
    return images, labels, split


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes, plain or .gz, as a uint8 array.

    Raises:
        DataError: not such a file, or shorter or longer than its header says.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); it is truncated or corrupt, fetch it again.") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise DataError(f"{path}: not an idx file of bytes (it begins {content[:4].hex()}); fetch it again.")
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise DataError(f"{path}: truncated within its header; fetch it again.")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    if len(content) - header != int(np.prod(shape, dtype=np.int64)):
        raise DataError(
            f"{path}: holds {len(content) - header:,} bytes where its header says {shape}; truncated, fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
