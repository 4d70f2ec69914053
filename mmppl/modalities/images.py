"""Which modalities are images, how these lie in memory, and how they are shown: the one answer that all others use."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from .modality import Modality

CHANNELS = (1, 3, 4)  # grey; red, green and blue; the same and opacity


def image_layout(shape: tuple[int, ...]) -> tuple[int, int, int, bool]:
    """Event shape → (channels, height, width, channels last?).

    Args:
        shape: (H, W), or with 1, 3 or 4 channels behind or before; where both could be meant, they are behind.
    Raises:
        UsageError: it is that of no image.
    """
    if len(shape) == 2:
        return 1, shape[0], shape[1], False
    if len(shape) == 3 and shape[-1] in CHANNELS:
        return shape[2], shape[0], shape[1], True
    if len(shape) == 3 and shape[0] in CHANNELS:
        return shape[0], shape[1], shape[2], False
    raise UsageError(f"a convolutional trunk needs an image (H, W), (C, H, W) or (H, W, C); got {shape}. Use mlp.")


def is_image(m: Modality) -> bool:
    """Whether it has numbers, not classes, of a shape that `image_layout` takes."""
    has_layout = len(m.shape) == 2 or (len(m.shape) == 3 and (m.shape[0] in CHANNELS or m.shape[-1] in CHANNELS))
    return has_layout and m.family.values != "classes"


def pixels(m: Modality, value: np.ndarray) -> np.ndarray:
    """Images (..., *shape) → (..., H, W, channels)."""
    if len(m.shape) == 2:
        return value[..., None]
    return value if image_layout(m.shape)[3] else np.moveaxis(value, -3, -1)


def shades(value: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Pixels (..., H, W, channels) → (..., H, W, 1 or 3) from 0, black, to 1, white; opacity lets a white page through.

    Args:
        limits: what is black (and, of opacity, clear) and what is white (opaque).
    """
    low, high = limits
    shown = np.clip((value - low) / (high - low or 1), 0, 1)
    if shown.shape[-1] < 4:
        return shown
    opacity = shown[..., 3:]
    return shown[..., :3] * opacity + (1 - opacity)
