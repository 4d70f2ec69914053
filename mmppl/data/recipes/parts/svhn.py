"""A digit twice or three times: handwritten (MNIST), as a house number (SVHN), and as its English name.

Source: the pairs of Shi, Siddharth, Paige & Torr 2019 (MMVAE, arXiv:1911.03393, `bin/make-mnist-svhn-idx.py`) and the
text of Sutter, Daunhawer & Vogt 2021 (MoPoE, arXiv:2105.02470).

Differs: there are validation rows; no house number of a class is repeated before all have been used (the source leaves
out whatever the rarer side lacks); `pairs` applies to train rows only.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....base.random import generator
from ....errors import DataError, UsageError
from ....modalities.modality import Modality
from ...dataset import Dataset
from ...readers.papers.matlab import read_mat
from ...splits import PARTS
from .files import Files
from .mnist import PLACES as MNIST
from .mnist import load_mnist
from .pairing import floats, in_turn
from .words import ALPHABET, LENGTH, written

FILES = ("train_32x32.mat", "test_32x32.mat")  # format 2 of Netzer et al. 2011
MAX_ROWS_PER_CLASS = 10_000  # each time the train rows are paired
VALID = 6  # one in so many train images, the last of the file, since neighbours come from the same photograph


def _fetch(root: Path) -> None:
    from torchvision.datasets import SVHN

    for part in ("train", "test"):
        SVHN(str(root / "svhn"), split=part, download=True)


PLACES = Files(FILES, ("svhn", "SVHN", "."), _fetch)


def digits_and_house_numbers(
    recipe: str, root: Path | None, download: bool, *, text: bool, pairs: int, partners: str, seed: int
) -> Dataset:
    """Pair handwritten digits with house numbers of the same class, and optionally with their names.

    The rows of a part, in random order, pair images of that part only. Each time, as many digits of every class are
    paired as there are on the rarer side, but at most 10,000: 46,720 train, 9,348 valid, 10,000 test rows.

    Args:
        recipe: the name of the recipe, for messages.
        root: the folder that holds `mnist/` and `svhn/`; None means $MMPPL_DATA.
        download: if True, torchvision downloads missing files.
        text: whether to add the names.
        pairs: how often the train rows are paired (MMVAE: 30; MoPoE: 20); each time takes 0.7 GB of memory.
        partners: "fixed" pairs once; "fresh" pairs the train rows anew in every epoch (house number and position of the
            word), which shows as much as many pairings and takes the memory of one.
        seed: the seed of partners, order and positions of the word.

    Returns:
        `image` (28×28), `svhn` (3×32×32), with `text` also `text` (8 of 71 characters), and `label`.

    Raises:
        UsageError: `pairs` is less than 1.
        DataError: files are missing, truncated or corrupt, or lack a digit.
    """
    if pairs < 1:
        raise UsageError(f"{recipe}: pairs={pairs}: at least one round is needed.")
    photos, numbers, number_split = load_svhn(recipe, root, download)
    images, labels, split = load_mnist(recipe, root, download)
    rows, partner = zip(
        *(
            _paired(recipe, labels, split, numbers, number_split, part, pairs if part == 0 else 1, seed)
            for part in range(len(PARTS))
        )
    )
    sizes = [len(of_part) for of_part in rows]
    row = torch.cat(rows)
    label = labels[row.numpy()]
    n = len(row)

    def refresh(seed: int, epoch: int) -> dict[str, Tensor]:
        train, draw = label[: sizes[0]], generator(seed, "fresh partners", epoch)
        fresh = {"svhn": floats(photos, in_turn(train, numbers, np.flatnonzero(number_split == 0), draw))}
        return fresh | ({"text": written(train, draw)} if text else {})

    modalities = [Modality("image", tuple(images.shape[1:]), "bernoulli")]
    modalities += [Modality("svhn", tuple(photos.shape[1:]), "laplace", scale=0.75)]
    modalities += [Modality("text", (LENGTH,), "categorical", classes=ALPHABET)] if text else []
    modalities += [Modality("label", (), "categorical", role="label", classes=tuple(range(10)))]
    words = {"text": written(label, generator(seed, "text"))} if text else {}
    return Dataset(
        name=f"{recipe}:pairs={pairs},partners={partners},seed={seed}",
        modalities=tuple(modalities),
        values={"image": images[row], "svhn": floats(photos, torch.cat(partner)), **words}
        | {"label": torch.from_numpy(label)},
        observed={m.name: torch.ones(n, dtype=torch.bool) for m in modalities},
        ids=np.arange(n),
        split=np.repeat(np.arange(len(PARTS), dtype=np.int8), sizes),
        has_split=True,
        refresh=refresh if partners == "fresh" else None,
    )


def load_svhn(recipe: str, root: Path | None, download: bool) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Read SVHN in the order of its files. The last sixth of the first file is for validation, the second file for the
    test.

    Args:
        recipe: the name of the recipe, for messages.
        root: the folder that holds `svhn/`; None means $MMPPL_DATA.
        download: if True, torchvision downloads missing files.

    Returns:
        (N, 3, 32, 32) uint8 images, (N,) digits, and (N,) int8 codes of the parts.

    Raises:
        DataError: files are missing, truncated or corrupt.
    """
    beside = f"MNIST's {MNIST.listed} in {MNIST.folders[0]}/ beside it"
    files = PLACES.find(recipe, root, download, beside=beside)
    train, test = (read_svhn(path) for path in files)
    split = np.zeros(len(train[1]) + len(test[1]), dtype=np.int8)
    split[len(train[1]) - len(train[1]) // VALID :] = 1
    split[len(train[1]) :] = 2
    return torch.cat([train[0], test[0]]), np.concatenate([train[1], test[1]]), split


def read_svhn(path: Path) -> tuple[Tensor, np.ndarray]:
    """Read a file of format 2, in which 10 stands for 0.

    Args:
        path: the path of the file.

    Returns:
        (N, 3, 32, 32) uint8 images and (N,) int64 digits.

    Raises:
        DataError: there is no such file, it is truncated or corrupt, or X or y is missing or not of that format.
    """
    arrays = read_mat(path, ("X", "y"))
    x, y = arrays["X"], arrays["y"]
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3):
        raise DataError(
            f"{path}: X is {x.dtype} of shape {x.shape}, not uint8 of (32, 32, 3, N); take format 2, cropped digits."
        )
    if y.shape not in ((x.shape[3], 1), (1, x.shape[3])):
        raise DataError(f"{path}: y has shape {y.shape} where X has {x.shape[3]:,} images; fetch the file again.")
    labels = y.reshape(-1)
    wrong = np.flatnonzero(~np.isin(labels, np.arange(1, 11)))
    if len(wrong):
        raise DataError(
            f"{path}: y[{wrong[0]}] is {labels[wrong[0]]}; digits are 1 to 10, and 10 stands for 0. Correct the file."
        )
    return torch.from_numpy(np.ascontiguousarray(x.transpose(3, 2, 0, 1))), labels.astype(np.int64) % 10


def _paired(
    recipe: str,
    labels: np.ndarray,
    split: np.ndarray,
    others: np.ndarray,
    other_split: np.ndarray,
    part: int,
    rounds: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Return (n,) row numbers on either side, of the same class each, in random order."""
    there = np.flatnonzero(other_split == part)
    chosen = []
    for digit in range(10):
        rows = torch.from_numpy(np.flatnonzero((split == part) & (labels == digit)))
        n = min(len(rows), int((others[there] == digit).sum()), MAX_ROWS_PER_CLASS)
        if not n:
            raise DataError(
                f"{recipe}: no {PARTS[part]} row can show a {digit}; {' and '.join(FILES)} need all digits."
            )
        draw = generator(seed, "pairs", part, digit)
        chosen += [rows[torch.randperm(len(rows), generator=draw)[:n]] for _ in range(rounds)]
    row = torch.cat(chosen)
    row = row[torch.randperm(len(row), generator=generator(seed, "order of pairs", part))]
    return row, in_turn(labels[row.numpy()], others, there, generator(seed, "partners", part))
