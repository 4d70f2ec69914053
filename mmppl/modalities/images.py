"""Which modalities are images, how they lie in memory and how they are shown. All other code asks here."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from .modality import Modality

CHANNELS = (1, 3, 4)  # grey; red, green and blue; these and opacity


def image_layout(shape: tuple[int, ...]) -> tuple[int, int, int, bool]:
    """Read the layout of an image from its event shape.

    Args:
        shape: (H, W), or (H, W, C) or (C, H, W) with C in 1, 3, 4. Where both could be meant, channels are last.

    Returns:
        Channels, height, width, and whether channels are last.

    Raises:
        UsageError: the shape is not that of an image.
    """
    if len(shape) == 2:
        return 1, shape[0], shape[1], False
    if len(shape) == 3 and shape[-1] in CHANNELS:
        return shape[2], shape[0], shape[1], True
    if len(shape) == 3 and shape[0] in CHANNELS:
        return shape[0], shape[1], shape[2], False
    raise UsageError(f"a convolutional trunk needs an image (H, W), (C, H, W) or (H, W, C); got {shape}. Use mlp.")


def is_image(m: Modality) -> bool:
    """Whether a modality has numbers, not classes, a shape that `image_layout` takes, and no steps."""
    has_layout = len(m.shape) == 2 or (len(m.shape) == 3 and (m.shape[0] in CHANNELS or m.shape[-1] in CHANNELS))
    return has_layout and not m.sequence and m.family.values != "classes"


def pixels(m: Modality, value: np.ndarray) -> np.ndarray:
    """Bring images to one layout.

    Args:
        m: the modality of the images.
        value: (..., *shape).

    Returns:
        (..., H, W, channels).
    """
    if len(m.shape) == 2:
        return value[..., None]
    return value if image_layout(m.shape)[3] else np.moveaxis(value, -3, -1)


def shades(value: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Turn pixels into shades for a figure. Where a pixel has opacity, the white page shows through it.

    Args:
        value: (..., H, W, channels) pixels.
        limits: the value that is black (for opacity: transparent), and the one that is white (opaque).

    Returns:
        (..., H, W, 1 or 3) from 0, black, to 1, white.
    """
    low, high = limits
    shown = np.clip((value - low) / (high - low or 1), 0, 1)
    if shown.shape[-1] < 4:
        return shown
    opacity = shown[..., 3:]
    return shown[..., :3] * opacity + (1 - opacity)
