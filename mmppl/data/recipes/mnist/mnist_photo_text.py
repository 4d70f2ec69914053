"""A digit three times: handwritten, inverted into a crop of a photograph, and as its English name.

Source: text and sizes are those of MNIST-SVHN-Text (Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO").
Photographs take the place of SVHN as in their PolyMNIST: colours are inverted where the digit is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ....base.random import generator
from ....modalities.modality import Modality
from ...dataset import Dataset
from ..parts.mnist import load_mnist
from ..parts.pairing import another_of_class
from ..parts.photographs import SIDE, on_photographs, photographs
from ..parts.words import ALPHABET, LENGTH, written
from ..registry import recipe


@recipe("mnist-photo-text")
def mnist_photo_text(
    root: Path | None = None, download: bool = False, *, photos: Path | None = None, seed: int = 0
) -> Dataset:
    """70,000 28×28 digits: image; another one of the class in a crop of a photograph, 3×32×32; its name; label.

    Needs: the four idx files of MNIST (gz or raw) in ROOT/mnist, or --download; photos=FOLDER for pictures of your own.

    The name is `text`, 8 of 71 characters. There are 50,000 train, 10,000 valid and 10,000 test rows in the order of
    MNIST's files. Crops of different parts do not overlap.

    Args:
        root: the folder that holds `mnist/`; None means $MMPPL_DATA.
        download: if True, torchvision downloads MNIST.
        photos: a folder of pictures, each at least 214 wide and 32 high; None takes the two that scikit-learn bundles.
        seed: the seed of partners, crops and positions of the word.

    Returns:
        The data set.

    Raises:
        DataError: files or pictures are missing, damaged or too small.
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
