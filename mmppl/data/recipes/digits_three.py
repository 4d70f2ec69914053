"""scikit-learn's digits as an image, a profile and a word."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...base.random import generator
from ...base.turns import turn
from ..dataset import Dataset
from ..schema.ingest import from_arrays
from ..splits import PARTS, stratified_split
from .parts.digits import NAMES, load_digits
from .parts.pairing import another_of_class
from .registry import recipe


@recipe("digits-three")
def digits_three(*, seed: int = 0) -> Dataset:
    """1,797 8×8 digits: image; 32 numbers that profile another one of the class; its name as 8 letters; label.

    Needs: nothing.

    The rows are split 70/10/20 within the classes. Images are Bernoulli, profiles Normal.

    Args:
        seed: the seed of the split and of the partners.

    Returns:
        The data set.
    """
    images, labels = load_digits()
    split = stratified_split(labels, seed=seed)
    partner = another_of_class(labels, split, generator(seed, "partner"))
    words = np.array([list(name.ljust(8)) for name in NAMES])
    arrays = {
        "image": images.numpy(),
        "profile": profile(images[partner]).numpy(),
        "word": words[labels],
        "label": labels,
        "split": np.array(PARTS)[split],
    }
    return from_arrays(arrays, name=f"digits-three:seed={seed}")


def profile(images: Tensor) -> Tensor:
    """Describe images by sums and low frequencies.

    Args:
        images: (N, 8, 8).

    Returns:
        (N, 32): the sums of the rows, the sums of the columns, and the 16 lowest coefficients of the 2-D DCT, which is
        the orthonormal DCT-II; the lowest are those of frequency 0 to 3 along either axis.
    """
    side = images.shape[-1]
    places, frequencies = torch.arange(side) + 0.5, torch.arange(4).unsqueeze(-1)
    basis = torch.cos(torch.pi / side * frequencies * places) * (2 / side) ** 0.5
    basis[0] /= 2**0.5
    with turn():
        lowest = basis @ images @ basis.T
    return torch.cat([images.sum(2), images.sum(1), lowest.flatten(1)], -1)
