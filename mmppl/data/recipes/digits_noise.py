"""scikit-learn's digits as an image and as random projections of it, either of which may be noise.

Source: the noise and its shares are those of MNIST-TIDIGITS in "Importance-based Multimodal Autoencoder" (OpenReview
4jXnFYaDOuD); projections take the place of speech.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...base.random import generator
from ...base.turns import turn
from ..dataset import Dataset
from ..schema.ingest import from_arrays
from ..splits import PARTS, stratified_split
from .parts.digits import load_digits
from .parts.noisy_pairs import Side, check_noise, noisy_pairs, white_images
from .registry import recipe

RECIPE = "digits-noise"
PROJECTIONS = 32
MEAN_OF = 4  # noise images, which are projected


@recipe("digits-noise")
def digits_noise(*, per_class: int = 300, noise: float = 0.1, sparsity: float = 0.8, seed: int = 0) -> Dataset:
    """4,460 pairs of an 8×8 digit and 32 random projections of it, either of which is noise in one of 11; label.

    Needs: nothing.

    The 1,797 images are split 70/10/20 within the classes, and pairs show images of their part only. Of N images and N
    projections of each class, N(1 − R) are paired with each other, and NR of either with noise: N(1 + R) train rows;
    for valid and test, N is a tenth and a quarter. Images are Bernoulli; projections, of the pixels onto 32 Gaussian
    directions, Normal. Noise images have Gaussian pixels of mean .5 and sd .12, of which a share κ is 0; noise
    projections are those of means of four such images. Annotations: `noise_image`, `noise_projection`, `recording` (the
    row of `load_digits` that is shown).

    Args:
        per_class: N of the train pairs.
        noise: R, in [0, 1).
        sparsity: κ, in [0, 1].
        seed: the seed of all draws.

    Returns:
        The data set.

    Raises:
        UsageError: R, κ or N is out of range.
    """
    check_noise(RECIPE, noise, sparsity, per_class=per_class)
    images, labels = load_digits()
    split = stratified_split(labels, seed=seed)
    side = images.shape[1]
    directions = torch.randn(side * side, PROJECTIONS, generator=generator(seed, "projections")) / side

    def noise_images(count: int, there: Tensor, draw: torch.Generator) -> Tensor:
        return white_images(count, (side, side), sparsity, draw)

    with turn():
        projected = images.flatten(1) @ directions
        pairs = noisy_pairs(
            RECIPE,
            Side("image", labels, split, lambda rows: images[rows], noise_images),
            Side(
                "projection",
                labels,
                split,
                lambda rows: projected[rows],
                lambda count, there, draw: (
                    noise_images(MEAN_OF * count, there, draw).reshape(count, MEAN_OF, side * side).mean(1) @ directions
                ),
            ),
            (per_class, max(1, per_class // 10), max(1, per_class // 4)),
            noise,
            seed=seed,
            same=True,
        )
    arrays = {name: value.numpy() for name, value in pairs.values.items()} | {
        "label": pairs.label,
        "split": np.array(PARTS)[pairs.split],
        "noise_image": pairs.noise("image"),
        "noise_projection": pairs.noise("projection"),
        "recording": np.where(pairs.noise("projection"), pairs.base["image"], pairs.base["projection"]),
    }
    return from_arrays(
        arrays,
        name=f"{RECIPE}:per_class={per_class},noise={noise:g},sparsity={sparsity:g},seed={seed}",
        annotations=("noise_image", "noise_projection", "recording"),
    )
