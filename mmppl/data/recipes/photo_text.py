"""A digit three times: handwritten, inverted into a crop of a photograph, and as its English name.

Source: text and sizes are those of MNIST-SVHN-Text (Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO"),
the photographs in place of SVHN as in their PolyMNIST: colours are inverted where the digit is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...base.random import generator
from ...errors import DataError
from ...modalities.modality import Modality
from ..dataset import Dataset
from .digits import NAMES
from .mnist import load_mnist
from .pairing import another_of_class

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+=<>()[]{}"
ALPHABET = (*LETTERS, "--", "\n", " ")  # 71 as in the source, whose hyphen stands twice; the second never occurs
LENGTH, SIDE = 8, 32
BANDS = (0.0, 0.7, 0.85, 1.0)  # of a photograph's width: what train, valid and test crops are taken from
CHUNK = 4096
PICTURES = (".jpg", ".jpeg", ".png")


def mnist_photo_text(
    root: Path | None = None, *, photos: Path | None = None, seed: int = 0, download: bool = False
) -> Dataset:
    """`image` (28×28), `photo` (3×32×32, another image of the class), `text` (8 of 71 characters), `label`.

    50,000 train, 10,000 valid, 10,000 test rows in the order of MNIST's files. Crops of the parts do not overlap.

    Args:
        root: the folder that holds `mnist/`; default $MMPPL_DATA.
        photos: a folder of pictures, each at least 214 wide and 32 high; default: the two that scikit-learn bundles.
        seed: of partners, crops and places of the word.
        download: let torchvision fetch MNIST.
    """
    images, labels, split = load_mnist("mnist-photo-text", root, download)
    partner = another_of_class(labels, split, generator(seed, "partner"))
    name = f"mnist-photo-text:seed={seed}" + (f",photos={photos}" if photos else "")
    n = len(images)
    return Dataset(
        name=name,
        modalities=(
            Modality("image", (28, 28), "bernoulli"),
            Modality("photo", (3, SIDE, SIDE), "laplace", scale=0.75),
            Modality("text", (LENGTH,), "categorical", classes=ALPHABET),
            Modality("label", (), "categorical", role="label", classes=tuple(range(10))),
        ),
        values={
            "image": images,
            "photo": on_photographs(images, partner, split, photographs(photos), generator(seed, "crops")),
            "text": written(labels, generator(seed, "text")),
            "label": torch.from_numpy(labels),
        },
        observed={key: torch.ones(n, dtype=torch.bool) for key in ("image", "photo", "text", "label")},
        ids=np.arange(n),
        split=split,
        has_split=True,
    )


def written(labels: np.ndarray, draw: torch.Generator) -> Tensor:
    """(N,) digits → (N, 8) codes into ALPHABET: the name among blanks, at a place evenly drawn."""
    names = [torch.tensor([ALPHABET.index(letter) for letter in name]) for name in NAMES]
    text = torch.full((len(labels), LENGTH), ALPHABET.index(" "))
    for digit, name in enumerate(names):
        rows = torch.from_numpy(np.flatnonzero(labels == digit))
        start = torch.randint(LENGTH - len(name) + 1, (len(rows), 1), generator=draw)
        text[rows.unsqueeze(-1), start + torch.arange(len(name))] = name
    return text


def photographs(folder: Path | None) -> list[Tensor]:
    """(3, H, W) uint8 pictures.

    Raises: DataError for a folder without pictures, and for one that is too small.
    """
    if folder is None:
        from sklearn.datasets import load_sample_images

        found = {f"scikit-learn's picture {i}": picture for i, picture in enumerate(load_sample_images().images)}
    else:
        from matplotlib.image import imread

        if not folder.is_dir():
            raise DataError(f"mnist-photo-text: photos={folder} is no folder.")
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in PICTURES)
        if not files:
            raise DataError(f"mnist-photo-text: no picture ({', '.join(PICTURES)}) in {folder}.")
        found = {}
        for file in files:
            try:
                found[str(file)] = imread(file)
            except (OSError, SyntaxError, ValueError) as error:
                raise DataError(f"{file}: no picture that can be read ({error}).") from None
    return [_picture(name, np.asarray(picture)) for name, picture in found.items()]


def _picture(name: str, picture: np.ndarray) -> Tensor:
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, -1)
    if picture.dtype != np.uint8:  # matplotlib gives PNG files as floats in [0, 1]
        picture = np.rint(255 * picture).astype(np.uint8)
    height, width = picture.shape[:2]
    least = min(round(width * b) - round(width * a) for a, b in zip(BANDS, BANDS[1:]))
    if height < SIDE or least < SIDE:
        raise DataError(f"{name}: {width} × {height} pixels; crops of the three parts need 214 × {SIDE}.")
    return torch.from_numpy(np.array(picture[..., :3])).movedim(-1, 0)


def on_photographs(
    images: Tensor, partner: Tensor, split: np.ndarray, pictures: Sequence[Tensor], draw: torch.Generator
) -> Tensor:
    """(N, 3, 32, 32) floats in [0, 1]: a random crop for every row, inverted where `images[partner]` is above ½.

    Args: images: (M, 28, 28) in [0, 1]; partner: (N,); split: (N,) 0 train, 1 valid, 2 test, which crops keep apart.
    """
    n = len(partner)
    crops = torch.empty(n, 3, SIDE, SIDE)
    which = torch.randint(len(pictures), (n,), generator=draw)
    place = torch.rand(n, 2, generator=draw)
    steps = torch.arange(SIDE)
    part = torch.from_numpy(split)
    for number, picture in enumerate(pictures):
        height, width = picture.shape[1:]
        for band in range(3):
            rows = ((which == number) & (part == band)).nonzero().squeeze(-1)
            left, right = (round(width * edge) for edge in BANDS[band : band + 2])
            for some in rows.split(CHUNK):
                top = (place[some, 0] * (height - SIDE + 1)).long()
                side = left + (place[some, 1] * (right - left - SIDE + 1)).long()
                y, x = (top[:, None] + steps)[:, :, None], (side[:, None] + steps)[:, None, :]
                crops[some] = picture[:, y, x].movedim(0, 1).float() / 255
    margin = (SIDE - images.shape[-1]) // 2
    for some in torch.arange(n).split(CHUNK):
        digit = torch.nn.functional.pad(images[partner[some]], (margin,) * 4).unsqueeze(1) > 0.5
        crops[some] = torch.where(digit, 1 - crops[some], crops[some])
    return crops
