"""A written and a spoken digit, either of which may be noise.

Source: MNIST-TIDIGITS of "Importance-based Multimodal Autoencoder" (OpenReview 4jXnFYaDOuD).

Differs: the Free Spoken Digit Dataset takes the place of TIDIGITS and TI46, which are licensed; MFCC are scaled to
[0, 1], as a Bernoulli needs; the mel bands end at 4 kHz; there are noise kinds besides white noise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ....errors import DataError
from ....modalities.modality import Modality
from ...dataset import Dataset
from ...readers.speech.mfcc import OF_IMA, SHAPES, speech_features
from ..parts.files import root_or_default
from ..parts.mnist import PLACES, load_mnist
from ..parts.noisy_pairs import Side, any_of, check_noise, noisy_pairs, shuffled, white_images
from ..parts.spoken import recordings, recordings_wanted, split_of_takes, spoken_digits
from ..registry import recipe

RECIPE = "mnist-speech"
SECONDS = 1  # of noise


@recipe("mnist-speech")
def mnist_speech(
    root: Path | None = None,
    download: bool = False,
    *,
    per_class: int = 3000,
    valid_per_class: int = 300,
    test_per_class: int = 700,
    noise: float = 0.1,
    sparsity: float = 0.8,
    image_noise: Literal["white", "shuffled"] = "white",
    speech_noise: Literal["white", "shuffled"] = "white",
    seed: int = 0,
) -> Dataset:
    """44,000 pairs of a 28×28 digit and a spoken one, 58×12 MFCC, either of which is noise in one of 11; label.

    Needs: the four idx files of MNIST (gz or raw) in ROOT/mnist, or --download; fsdd_recordings.zip (or its wav files)
    in ROOT/fsdd.

    Both are Bernoulli. `speech` is min-max scaled to [0, 1], each coefficient over the clean train recordings, and
    clamped. Of N images and N recordings of each class, N(1 − R) are paired with each other, and NR of either with
    noise: N(1 + R) rows, whose label is that of the clean side. Train pairs show MNIST's first 50,000 images, valid
    ones its next 10,000, test ones those of t10k. FSDD's takes 0 to 4 are for the test, 9, 19, ... for validation.
    Annotations: `noise_image`, `noise_speech`, `recording` (the name of the recording, "" for noise).

    Args:
        root: the folder that holds `mnist/` and `fsdd/`; None means $MMPPL_DATA.
        download: if True, torchvision downloads MNIST.
        per_class: N of the train pairs.
        valid_per_class: N of the valid pairs.
        test_per_class: N of the test pairs.
        noise: R, in [0, 1).
        sparsity: κ, the share of pixels of a white noise image that are 0.
        image_noise: "white", Gaussian pixels of mean .5 and sd .12, negative ones 0; or "shuffled", a digit of any
            class with its pixels in random order.
        speech_noise: "white", MFCC of a second of N(0, 1) samples; or "shuffled", a recording of any class with its 58
            frames in random order.
        seed: the seed of all draws.

    Returns:
        The data set.

    Raises:
        DataError: files are missing or damaged, a part has no recording of a digit, or one is shorter than a window.
        UsageError: R, κ or a number of pairs is out of range.
    """
    counts = (per_class, valid_per_class, test_per_class)
    check_noise(RECIPE, noise, sparsity, per_class=counts[0], valid_per_class=counts[1], test_per_class=counts[2])
    path = _found(root)
    images, digits, image_split = load_mnist(RECIPE, root, download)
    features, parsed = spoken_digits(path, "frames", shortest=OF_IMA.window / OF_IMA.rate)
    takes = split_of_takes([one.take for one in parsed])
    if not (takes == 0).any():
        raise DataError(f"{RECIPE}: {path} has no train recording (takes 5 to 8, 10 to 18, ...); fetch it again.")
    scaled = _min_max(features[torch.from_numpy(takes == 0)])
    speech = scaled(features)

    def noise_images(count: int, there: Tensor, draw: torch.Generator) -> Tensor:
        if image_noise == "white":
            return white_images(count, images.shape[1:], sparsity, draw)
        return shuffled(images[any_of(there, count, draw)].flatten(1), draw).reshape(count, *images.shape[1:])

    def noise_speech(count: int, there: Tensor, draw: torch.Generator) -> Tensor:
        if speech_noise == "shuffled":
            return shuffled(speech[any_of(there, count, draw)], draw)
        made = torch.empty(count, *SHAPES["frames"])
        for row in range(count):  # drawn one by one, since a thousand seconds would take 50 MB
            second = torch.randn(SECONDS * OF_IMA.rate, generator=draw)
            made[row] = speech_features(second, OF_IMA.rate, "frames")
        return scaled(made)

    pairs = noisy_pairs(
        RECIPE,
        Side("image", digits, image_split, lambda rows: images[rows], noise_images),
        Side("speech", np.array([int(one.label) for one in parsed]), takes, lambda rows: speech[rows], noise_speech),
        counts,
        noise,
        seed=seed,
    )
    names = np.array([*(f"{one.label}_{one.speaker}_{one.take}" for one in parsed), ""])  # the last one is that of −1
    chosen = "".join(f",{key}={kind}" for key, kind in (("image_noise", image_noise), ("speech_noise", speech_noise)))
    return Dataset(
        name=f"{RECIPE}:per_class={per_class},valid_per_class={valid_per_class},test_per_class={test_per_class},"
        f"noise={noise:g},sparsity={sparsity:g}{chosen},seed={seed}",
        modalities=(
            Modality("image", tuple(images.shape[1:]), "bernoulli"),
            Modality("speech", tuple(speech.shape[1:]), "bernoulli"),
            Modality("label", (), "categorical", role="label", classes=tuple(range(10))),
        ),
        values=pairs.values | {"label": torch.from_numpy(pairs.label)},
        observed={key: torch.ones(len(pairs.label), dtype=torch.bool) for key in ("image", "speech", "label")},
        ids=np.arange(len(pairs.label)),
        split=pairs.split,
        has_split=True,
        annotations={
            "noise_image": pairs.noise("image"),
            "noise_speech": pairs.noise("speech"),
            "recording": names[pairs.base["speech"]],
        },
    )


def _found(root: Path | None) -> Path:
    """Return where the recordings are; complain about them before MNIST is read, which takes a second."""
    place = root_or_default(root)
    if place is None:
        raise DataError(
            f"{RECIPE}: needs {PLACES.listed} in ROOT/{PLACES.folders[0]}, and {recordings_wanted()}; give --root ROOT "
            "or set MMPPL_DATA."
        )
    path = recordings(place)
    if path is None:
        wanted = recordings_wanted().replace("ROOT", str(place))
        raise DataError(f"{RECIPE}: put {wanted} (they are not downloaded).")
    return path


def _min_max(features: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a scaling of each coefficient by its least and largest values in some recordings, clamped to [0, 1]."""
    low, high = features.amin((0, 1)), features.amax((0, 1))
    width = torch.where(high > low, high - low, 1.0)
    return lambda values: ((values - low) / width).clamp_(0, 1)
