"""A convolutional trunk and a convolutional decoder for images."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..modalities.images import image_layout
from .mlp import Dropout, FullPrecision


class ConvTrunk(nn.Module):
    """Features of an image: (..., H·W·C flattened) → (..., outputs), by three blocks of two 3×3 convolutions and a
    pooling.

    Args:
        shape: (H, W), (C, H, W) or (H, W, C) with C in (1, 3, 4).
        outputs: the number of features.
        width: channels of the first block, a multiple of 8; they double at each pooling.
        dropout: rate of the dropout before the last layer.

    Raises:
        UsageError: `outputs` or `width` is below 1, or the shape is not that of an image.

    Example:
        >>> import torch
        >>> ConvTrunk((8, 8, 3), 10, width=8)(torch.zeros(2, 8 * 8 * 3)).shape
        torch.Size([2, 10])
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
    """(..., inputs) → (..., parts·H·W·C): an image that two nearest-neighbour steps grow from a quarter of its size.

    Args:
        inputs: the size of what is decoded.
        shape: (H, W), (C, H, W) or (H, W, C) with C in (1, 3, 4).
        parts: how many numbers each pixel gets (2 when the likelihood predicts a log-variance). The parts come one
            after the other, each in the layout of `shape`.
        width: channels before the last layer, a multiple of 8.

    Example:
        >>> import torch
        >>> ConvDecoder(5, (8, 8), width=8)(torch.zeros(2, 5)).shape
        torch.Size([2, 64])
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
