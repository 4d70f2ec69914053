"""Crops of photographs with inverted colours where a digit is (as in PolyMNIST of Sutter, Daunhawer, Vogt 2021)."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ....base.memory import check_room
from ....errors import DataError
from ...readers.parts.files import opened

SIDE = 32
BANDS = (0.0, 0.7, 0.85, 1.0)  # shares of a photograph's width, for train, valid and test crops
CHUNK = 4096
PICTURES = (".jpg", ".jpeg", ".png")
LARGEST, PIXEL = 50_000_000, 16  # pixels of a picture; bytes of a pixel as four floats
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, RuntimeError, struct.error, zlib.error)


def photographs(folder: Path | None, recipe: str = "mnist-photo-text") -> list[Tensor]:
    """Read the pictures to crop from.

    Args:
        folder: the folder that holds them; None takes the two that scikit-learn bundles.
        recipe: the name of the recipe, for messages.

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
            raise DataError(f"{recipe}: photos={folder} is no folder; give one with pictures in it.")
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in PICTURES)
        if not files:
            raise DataError(f"{recipe}: no picture ({', '.join(PICTURES)}) in {folder}; put some there.")
        found = {}
        for file in files:
            try:
                with opened(file) as content:
                    _check_size(file, content)
                    found[str(file)] = imread(content, format=file.suffix[1:].lower())
            except UNREADABLE as error:
                reason = " ".join(str(error).split())
                raise DataError(f"{file}: no picture that can be read ({reason}).") from None
    return [_picture(name, np.asarray(picture)) for name, picture in found.items()]


def _check_size(file: Path, content: BinaryIO) -> None:
    """Refuse a picture that is too large, by its header alone."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            width, height = Image.open(content).size
    except UnidentifiedImageError:
        raise ValueError("of no known format") from None
    except Image.DecompressionBombError as error:
        raise ValueError(error) from None
    if width * height > LARGEST:
        raise DataError(f"{file}: {width:,} × {height:,} pixels, where {LARGEST:,} are the most; make it smaller.")
    check_room(width * height * PIXEL, f"{file}: the picture")
    content.seek(0)


def _picture(name: str, picture: np.ndarray) -> Tensor:
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.shape[-1] < 3:  # grey, perhaps with opacity
        picture = np.repeat(picture[..., :1], 3, -1)
    if picture.dtype != np.uint8:  # matplotlib gives PNG files as floats in [0, 1]
        picture = np.rint(255 * picture).astype(np.uint8)
    height, width = picture.shape[:2]
    least = min(round(width * b) - round(width * a) for a, b in zip(BANDS, BANDS[1:]))
    if height < SIDE or least < SIDE:
        raise DataError(f"{name}: {width} × {height} pixels; crops of the three parts need 214 × {SIDE}.")
    return torch.from_numpy(np.array(picture[..., :3])).movedim(-1, 0)


def strips(pictures: Sequence[Tensor], number: int, side: int, recipe: str) -> list[Tensor]:
    """Cut pictures into as many backgrounds as are wanted: picture by picture, each into strips of one height, from the
    top.

    Args:
        pictures: (3, H, W) uint8 each; those beyond `number` are not used.
        number: how many backgrounds.
        side: the height of the crops that each must have room for.
        recipe: the name of the recipe, for messages.

    Returns:
        (3, h, W) uint8 each, no part of which is in another.

    Raises:
        DataError: a picture is too low.

    Example:
        >>> pictures = [torch.zeros(3, 90, 400, dtype=torch.uint8), torch.zeros(3, 50, 400, dtype=torch.uint8)]
        >>> [strip.shape[1] for strip in strips(pictures, 3, 28, "mine")]
        [45, 50, 45]
    """
    found = []
    for i in range(number):
        which, place = i % len(pictures), i // len(pictures)
        of_one = -(-(number - which) // len(pictures))  # strips of this picture
        picture = pictures[which]
        height = picture.shape[1] // of_one
        if height < side:
            raise DataError(
                f"{recipe}: {number} backgrounds of {len(pictures)} pictures, of which one is {picture.shape[1]} high "
                f"and gives {of_one}; each has to be {side} high. Give more pictures, or larger ones."
            )
        found.append(picture[:, place * height : (place + 1) * height])
    return found


def on_photographs(
    images: Tensor,
    partner: Tensor,
    split: np.ndarray,
    pictures: Sequence[Tensor],
    draw: torch.Generator,
    side: int = SIDE,
) -> Tensor:
    """Draw a random crop for every row, and invert it where the image of its partner is above ½.

    Args:
        images: (M, 28, 28) in [0, 1].
        partner: (N,) row numbers of `images`.
        split: (N,) 0 train, 1 valid, 2 test; crops of different parts do not overlap.
        pictures: (3, H, W) uint8 each.
        draw: the random generator of choices and positions.
        side: height and width of the crops, at least those of the images.

    Returns:
        (N, 3, side, side) floats in [0, 1].
    """
    n = len(partner)
    crops = torch.empty(n, 3, side, side)
    which = torch.randint(len(pictures), (n,), generator=draw)
    place = torch.rand(n, 2, generator=draw)
    steps = torch.arange(side)
    part = torch.from_numpy(split)
    for number, picture in enumerate(pictures):
        height, width = picture.shape[1:]
        for band in range(3):
            rows = ((which == number) & (part == band)).nonzero().squeeze(-1)
            left, right = (round(width * edge) for edge in BANDS[band : band + 2])
            for some in rows.split(CHUNK):
                top = (place[some, 0] * (height - side + 1)).long()
                across = left + (place[some, 1] * (right - left - side + 1)).long()
                y, x = (top[:, None] + steps)[:, :, None], (across[:, None] + steps)[:, None, :]
                crops[some] = picture[:, y, x].movedim(0, 1).float() / 255
    margin = (side - images.shape[-1]) // 2
    for some in torch.arange(n).split(CHUNK):
        digit = torch.nn.functional.pad(images[partner[some]], (margin,) * 4).unsqueeze(1) > 0.5
        crops[some] = torch.where(digit, 1 - crops[some], crops[some])
    return crops
