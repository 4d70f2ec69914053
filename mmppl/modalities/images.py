"""Which shapes are images, and how they lie in memory."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from .modality import Modality


def image_layout(shape: tuple[int, ...]) -> tuple[int, int, int, bool]:
    """Event shape → (channels, height, width, channels last?); UsageError when it is no image."""
    if len(shape) == 2:
        return 1, shape[0], shape[1], False
    if len(shape) == 3 and shape[-1] in (1, 3, 4):
        return shape[2], shape[0], shape[1], True
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return shape[0], shape[1], shape[2], False
    raise UsageError(f"a convolutional trunk needs an image (H, W), (C, H, W) or (H, W, C); got {shape}. Use mlp.")


def is_image(m: Modality) -> bool:
    """Numbers of shape (H, W), or with 1 or 3 channels before or after."""
    if m.classes is not None:
        return False
    return len(m.shape) == 2 or (len(m.shape) == 3 and (m.shape[0] in (1, 3) or m.shape[-1] in (1, 3)))


def is_vector(m: Modality) -> bool:
    """Several numbers that are no image."""
    return m.classes is None and m.size > 1 and not is_image(m)


def pixels(m: Modality, value: np.ndarray) -> np.ndarray:
    """Images (..., *shape) → (..., H, W, channels), 1 or 3 of these."""
    if len(m.shape) == 2:
        return value[..., None]
    return np.moveaxis(value, -3, -1) if m.shape[0] in (1, 3) else value
