"""Small affine distortions of images, like those between writers. Drawn anew, they show a network every image many
times."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .pairing import CHUNK

TURN, STRETCH, SLANT, SHIFT = math.radians(8), 0.1, 0.1, 1 / 28  # the last one is a share of the side: 1 pixel of 28


def distorted(images: Tensor, draw: torch.Generator) -> Tensor:
    """Turn, stretch, slant and shift images by random amounts.

    Args:
        images: (N, H, W) in [0, 1].
        draw: the random generator; each amount is uniform between minus and plus the constants above.

    Returns:
        (N, H, W) in [0, 1], bilinearly interpolated, with zeros from outside.
    """
    out = torch.empty_like(images)
    aspect = images.shape[1] / images.shape[2]  # the grid runs from −1 to 1 along either side, however long
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].unsqueeze(1)
        u = 2 * torch.rand(6, len(chunk), generator=draw) - 1
        cos, sin = (TURN * u[0]).cos(), (TURN * u[0]).sin()
        wide, high = 1 + STRETCH * u[1], 1 + STRETCH * u[2]
        theta = torch.stack(
            [cos * wide, (SLANT * u[3] - sin * high) * aspect, 2 * SHIFT * u[4],
             sin * wide / aspect, cos * high, 2 * SHIFT * u[5]], -1,
        )  # fmt: skip
        grid = F.affine_grid(theta.reshape(-1, 2, 3), list(chunk.shape), align_corners=False)
        out[start : start + CHUNK] = F.grid_sample(chunk, grid, padding_mode="zeros", align_corners=False).squeeze(1)
    return out.clamp_(0, 1)  # the bilinear weights sum to 1 only up to rounding


def rotate_images(images: Tensor, radians: Tensor) -> Tensor:
    """Turn images about their centres.

    Args:
        images: (N, H, W) in [0, 1].
        radians: (N,) angles.

    Returns:
        (N, H, W) in [0, 1], bilinearly interpolated, with zeros from outside.
    """
    turned = torch.empty_like(images)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    aspect = images.shape[1] / images.shape[2]  # the grid runs from −1 to 1 along either side, however long
    theta = torch.stack([cos, -sin * aspect, zero, sin / aspect, cos, zero], -1).reshape(-1, 2, 3)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK].unsqueeze(1)
        grid = F.affine_grid(theta[start : start + CHUNK], list(chunk.shape), align_corners=False)
        turned[start : start + CHUNK] = F.grid_sample(chunk, grid, padding_mode="zeros", align_corners=False).squeeze(1)
    return turned.clamp_(0, 1)  # the bilinear weights sum to 1 only up to rounding


def random_rotation(images: Tensor, draw: torch.Generator) -> Tensor:
    """Rotate each image by its own angle from U[−45°, 45°].

    Args:
        images: (N, H, W) in [0, 1].
        draw: the random generator.

    Returns:
        (N, H, W) in [0, 1].
    """
    return rotate_images(images, (2 * torch.rand(len(images), generator=draw) - 1) * (math.pi / 4))
