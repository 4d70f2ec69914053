"""The strided networks of MNIST-SVHN-Text for images and for texts of 8 characters. There may be many batch axes.

Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO" (its code's layer sizes, for 32×32 images); ReLU
between layers. Differs: images of any size, whose sides every layer halves, an odd one rounded up, until 4×4 are left;
norms, where they are asked for (without them a first epoch may learn nothing).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from ..errors import UsageError
from ..modalities.images import image_layout
from .mlp import Dropout

LEFT, CHANNELS = 4, 32  # for images: pixels a side before the last layer, channels after the first
LENGTH, WIDTH = 8, 128  # for texts: characters, channels


class Rows(nn.Sequential):
    """Layers over (N, n), applied to inputs (..., n)."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x.reshape(math.prod(x.shape[:-1]), x.shape[-1])).flatten(1)
        return y.reshape(*x.shape[:-1], y.shape[1])


class Moved(nn.Module):
    """Moves one axis to another place, as `Tensor.movedim` does."""

    def __init__(self, source: int, destination: int) -> None:
        super().__init__()
        self.source, self.destination = source, destination

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(self.source, self.destination)


def image_trunk(
    shape: tuple[int, ...], outputs: int, *, channels: int = CHANNELS, norm: bool = False, dropout: float = 0.0
) -> Rows:
    """(..., C·H·W) → (..., outputs): convolutions of kernel 4 and stride 2, and one over the at most 4×4 that are left.

    Args:
        shape: (H, W), (C, H, W) or (H, W, C) with C in (1, 3, 4).
        outputs: the number of features.
        channels: channels after the first convolution; the others have twice as many, the last four times.
        norm: whether each sample's features are normalised before each ReLU, over all channels and places.
        dropout: rate of the dropout on the last features.

    Returns:
        The network.
    """
    colours, height, width, channels_last = image_layout(shape)
    layers: list[nn.Module] = [nn.Unflatten(1, shape if len(shape) == 3 else (1, *shape))]
    layers += [Moved(-1, 1)] if channels_last else []
    sides = _sides(height, width)
    wide = _channels(colours, channels, sides)
    for before, after, (h, w) in zip(wide, wide[1:], sides[:-1]):
        layers += [nn.Conv2d(before, after, 4, 2, (1 + h % 2, 1 + w % 2)), *_normed(after, norm), nn.ReLU()]
    layers += [nn.Conv2d(wide[-1], 4 * channels, sides[-1]), *_normed(4 * channels, norm), nn.ReLU(), nn.Flatten()]
    layers += [Dropout(dropout)] if dropout else []
    return Rows(*layers, nn.Linear(4 * channels, outputs))


def image_decoder(
    inputs: int, shape: tuple[int, ...], *, parts: int = 1, channels: int = CHANNELS, norm: bool = False
) -> Rows:
    """(..., inputs) → (..., parts·C·H·W): the mirror of `image_trunk`.

    Args:
        inputs: the size of what is decoded.
        shape: (H, W), (C, H, W) or (H, W, C) with C in (1, 3, 4).
        parts: how many numbers each pixel gets. The parts come one after the other, each in the layout of `shape`.
        channels: as in `image_trunk`.
        norm: as in `image_trunk`.

    Returns:
        The network.
    """
    colours, height, width, channels_last = image_layout(shape)
    sides = _sides(height, width)
    wide = _channels(parts * colours, channels, sides)
    layers: list[nn.Module] = [nn.Linear(inputs, 4 * channels), nn.Unflatten(1, (4 * channels, 1, 1))]
    layers += [*_normed(4 * channels, norm), nn.ReLU(), nn.ConvTranspose2d(4 * channels, wide[-1], sides[-1])]
    for before, after, (h, w) in zip(wide[::-1], wide[-2::-1], sides[-2::-1]):
        odd = h % 2, w % 2
        layers += [*_normed(before, norm), nn.ReLU()]
        layers += [nn.ConvTranspose2d(before, after, 4, 2, (1 + odd[0], 1 + odd[1]), output_padding=odd)]
    layers += [nn.Unflatten(1, (parts, colours)), Moved(2, -1)] if channels_last else []
    return Rows(*layers)


def text_trunk(classes: int, outputs: int) -> Rows:
    """One-hot texts (..., 8·classes) → (..., outputs): three convolutions along the text, down to 1 position.

    Args:
        classes: the number of characters in the alphabet.
        outputs: the number of features.

    Returns:
        The network.
    """
    return Rows(
        nn.Unflatten(1, (LENGTH, classes)), Moved(-1, 1),
        nn.Conv1d(classes, WIDTH, 1), nn.ReLU(), nn.Conv1d(WIDTH, WIDTH, 4, 2, 1), nn.ReLU(),
        nn.Conv1d(WIDTH, WIDTH, 4, 2, 0), nn.ReLU(), nn.Flatten(), nn.Linear(WIDTH, outputs),
    )  # fmt: skip


def text_decoder(inputs: int, classes: int) -> Rows:
    """(..., inputs) → logits (..., 8·classes): the mirror of `text_trunk`.

    Args:
        inputs: the size of what is decoded.
        classes: the number of characters in the alphabet.

    Returns:
        The network.
    """
    return Rows(
        nn.Linear(inputs, WIDTH), nn.Unflatten(1, (WIDTH, 1)), nn.ReLU(),
        nn.ConvTranspose1d(WIDTH, WIDTH, 4), nn.ReLU(),
        nn.ConvTranspose1d(WIDTH, WIDTH, 4, 2, 1), nn.ReLU(), nn.Conv1d(WIDTH, classes, 1), Moved(1, -1),
    )  # fmt: skip


def is_text(shape: tuple[int, ...]) -> bool:
    """Whether `text_trunk` takes a sequence of this shape."""
    return shape == (LENGTH,)


def _sides(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width before and after every layer of stride 2."""
    sides = [(height, width)]
    while max(sides[-1]) > LEFT:
        sides.append((-(-sides[-1][0] // 2), -(-sides[-1][1] // 2)))
    return sides


def _channels(image: int, first: int, sides: list[tuple[int, int]]) -> list[int]:
    """The number of channels at each of these sizes."""
    if first < 1:
        raise UsageError(f"channels={first}: a convolution over an image needs at least one.")
    return [image, first, *[2 * first] * len(sides)][: len(sides)]


def _normed(channels: int, norm: bool) -> list[nn.Module]:
    return [nn.GroupNorm(1, channels)] if norm else []
