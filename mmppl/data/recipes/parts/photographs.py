"""Crops of photographs with inverted colours where a digit is (as in PolyMNIST of Sutter, Daunhawer, Vogt 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....errors import DataError

SIDE = 32
BANDS = (0.0, 0.7, 0.85, 1.0)  # shares of a photograph's width, for train, valid and test crops
CHUNK = 4096
PICTURES = (".jpg", ".jpeg", ".png")


def photographs(folder: Path | None) -> list[Tensor]:
    """Read the pictures to crop from.

    Args:
        folder: the folder that holds them; None takes the two that scikit-learn bundles.

    Returns:
        (3, H, W) uint8 each.

    Raises:
        DataError: there are no pictures in the folder, or one is damaged or too small.
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
    """Draw a random crop for every row, and invert it where the image of its partner is above ½.

    Args:
        images: (M, 28, 28) in [0, 1].
        partner: (N,) row numbers of `images`.
        split: (N,) 0 train, 1 valid, 2 test; crops of different parts do not overlap.
        pictures: (3, H, W) uint8 each.
        draw: the random generator of choices and positions.

    Returns:
        (N, 3, 32, 32) floats in [0, 1].
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
