"""The 1,797 8×8 digits that come with scikit-learn (UCI optical recognition of handwritten digits, test part)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...base.random import generator
from ..dataset import Dataset
from ..schema.ingest import from_arrays
from ..splits import PARTS, stratified_split
from .pairing import another_of_class
from .two_view import two_view

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def load_digits() -> tuple[Tensor, np.ndarray]:
    """(1797, 8, 8) float32 images in [0, 1] and (1797,) int64 labels, in the order of scikit-learn."""
    from sklearn.datasets import load_digits as load  # takes a second: only for those who ask

    bunch = load()
    return torch.from_numpy(bunch.images.astype(np.float32) / 16), bunch.target.astype(np.int64)


def digits_two_view(*, rotate: str = "fixed", seed: int = 0) -> Dataset:
    """`two_view` of the digits, split 70/10/20 within the classes."""
    images, labels = load_digits()
    name = f"digits-two-view:rotate={rotate},seed={seed}"
    return two_view(images, labels, stratified_split(labels, seed=seed), rotate=rotate, seed=seed, name=name)


def digits_three(*, seed: int = 0) -> Dataset:
    """`image` (8×8, Bernoulli), `profile` (32 numbers of another image of the class), `word` (8 letters), `label`."""
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
    """(N, 8, 8) → (N, 32): sums of the rows, sums of the columns, and the 16 lowest coefficients of the 2-D DCT.

    The DCT is the orthonormal DCT-II; its lowest coefficients are those of frequency 0 to 3 along either axis.
    """
    side = images.shape[-1]
    places, frequencies = torch.arange(side) + 0.5, torch.arange(4).unsqueeze(-1)
    basis = torch.cos(torch.pi / side * frequencies * places) * (2 / side) ** 0.5
    basis[0] /= 2**0.5
    lowest = basis @ images @ basis.T
    return torch.cat([images.sum(2), images.sum(1), lowest.flatten(1)], -1)
