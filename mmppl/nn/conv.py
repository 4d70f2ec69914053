"""Convolutional trunk and decoder for images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..modalities.images import image_layout
from .mlp import Dropout, FullPrecision


class ConvTrunk(nn.Module):
    """Image (..., H·W·C flattened) → (..., outputs) features: three blocks of two 3×3 convolutions and a pooling.

    Args:
        shape: (H, W), (C, H, W) or (H, W, C) with C in (1, 3, 4).
        width: channels of the first block; doubled at each pooling.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int, *, width: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        if min(outputs, width) < 1:
            raise UsageError(f"a convolutional trunk of {width} channels and {outputs} outputs: both at least 1.")
        self.channels, self.height, self.width, self.channels_last = image_layout(shape)
        blocks: list[nn.Module] = []
        inputs, height, wide = self.channels, self.height, self.width
        for block in range(3):
            channels = width * 2**block
            for _ in range(2):
                blocks += [nn.Conv2d(inputs, channels, 3, padding=1), nn.GroupNorm(8, channels), nn.ReLU()]
                inputs = channels
            if min(height, wide) > 1:
                blocks.append(nn.MaxPool2d(2, ceil_mode=True))
                height, wide = (height + 1) // 2, (wide + 1) // 2
        self.convolutions = nn.Sequential(*blocks)
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(inputs * height * wide, outputs), FullPrecision())

    def forward(self, x: Tensor) -> Tensor:
        lead = x.shape[:-1]
        if self.channels_last:
            image = x.reshape(-1, self.height, self.width, self.channels).movedim(-1, 1)
        else:
            image = x.reshape(-1, self.channels, self.height, self.width)
        return self.head(self.convolutions(image).flatten(1)).reshape(*lead, -1)


class ConvDecoder(nn.Module):
    """(..., inputs) → (..., parts·H·W·C): an image grown from a quarter of its size by two nearest-neighbour steps.

    Args:
        parts: how many numbers per pixel (2 when the likelihood predicts a log-variance); the parts come one after
            the other, each in the layout of `shape`.
    """

    def __init__(self, inputs: int, shape: tuple[int, ...], *, parts: int = 1, width: int = 32) -> None:
        super().__init__()
        self.channels, self.height, self.width, self.channels_last = image_layout(shape)
        self.parts = parts
        self.small = (2 * width, -(-self.height // 4), -(-self.width // 4))
        self.start = nn.Linear(inputs, self.small[0] * self.small[1] * self.small[2])
        self.grow = nn.ModuleList(
            [nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.Conv2d(2 * width, width, 3, padding=1)]
        )
        self.norms = nn.ModuleList([nn.GroupNorm(8, 2 * width), nn.GroupNorm(8, width)])
        self.last = nn.Conv2d(width, parts * self.channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        lead = x.shape[:-1]
        image = F.relu(self.start(x.reshape(-1, x.shape[-1]))).reshape(-1, *self.small)
        for convolution, norm in zip(self.grow, self.norms):
            image = F.relu(norm(convolution(F.interpolate(image, scale_factor=2.0))))
        image = self.last(image)[..., : self.height, : self.width]
        image = image.reshape(-1, self.parts, self.channels, self.height, self.width)
        image = image.movedim(2, -1) if self.channels_last else image
        return image.reshape(*lead, image.shape[1:].numel())
