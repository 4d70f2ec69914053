"""The strided networks of MNIST-SVHN-Text for 32×32 images and texts of 8 characters. Batch axes may be many.

Source: Sutter, Daunhawer, Vogt 2021, "Generalized multimodal ELBO" (its code's layer sizes); ReLU between layers.
"""

from __future__ import annotations

from torch import Tensor, nn

from .errors import UsageError
from .nets import image_layout

SIDE, LENGTH, WIDTH = 32, 8, 128


class Rows(nn.Sequential):
    """Layers over (N, n) on inputs (..., n)."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x.reshape(x.shape[:-1].numel(), x.shape[-1])).flatten(1)
        return y.reshape(*x.shape[:-1], y.shape[1])


class Moved(nn.Module):
    """One axis put elsewhere, as `Tensor.movedim`."""

    def __init__(self, source: int, destination: int) -> None:
        super().__init__()
        self.source, self.destination = source, destination

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(self.source, self.destination)


def image_trunk(shape: tuple[int, ...], outputs: int) -> Rows:
    """(..., C·32·32) → (..., outputs): four convolutions of kernel 4 and stride 2, to 1×1."""
    channels, channels_last = _image(shape)
    layers: list[nn.Module] = [nn.Unflatten(1, shape if len(shape) == 3 else (1, *shape))]
    layers += [Moved(-1, 1)] if channels_last else []
    sizes = (channels, 32, 64, 64, WIDTH)
    for before, wide, padding in zip(sizes, sizes[1:], (1, 1, 1, 0)):
        layers += [nn.Conv2d(before, wide, 4, 2, padding), nn.ReLU()]
    return Rows(*layers, nn.Flatten(), nn.Linear(WIDTH, outputs))


def image_decoder(inputs: int, shape: tuple[int, ...]) -> Rows:
    """(..., inputs) → (..., C·32·32): its mirror."""
    channels, channels_last = _image(shape)
    layers: list[nn.Module] = [nn.Linear(inputs, WIDTH), nn.Unflatten(1, (WIDTH, 1, 1))]
    sizes = (WIDTH, 64, 64, 32, channels)
    for before, wide, stride, padding in zip(sizes, sizes[1:], (1, 2, 2, 2), (0, 1, 1, 1)):
        layers += [nn.ReLU(), nn.ConvTranspose2d(before, wide, 4, stride, padding)]
    layers += [Moved(1, -1)] if channels_last else []
    return Rows(*layers)


def text_trunk(classes: int, outputs: int) -> Rows:
    """One-hot texts (..., 8·classes) → (..., outputs): three convolutions along the text, to 1 position."""
    return Rows(
        nn.Unflatten(1, (LENGTH, classes)), Moved(-1, 1),
        nn.Conv1d(classes, WIDTH, 1), nn.ReLU(), nn.Conv1d(WIDTH, WIDTH, 4, 2, 1), nn.ReLU(),
        nn.Conv1d(WIDTH, WIDTH, 4, 2, 0), nn.ReLU(), nn.Flatten(), nn.Linear(WIDTH, outputs),
    )  # fmt: skip


def text_decoder(inputs: int, classes: int) -> Rows:
    """(..., inputs) → logits (..., 8·classes): its mirror."""
    return Rows(
        nn.Linear(inputs, WIDTH), nn.Unflatten(1, (WIDTH, 1)), nn.ReLU(),
        nn.ConvTranspose1d(WIDTH, WIDTH, 4), nn.ReLU(),
        nn.ConvTranspose1d(WIDTH, WIDTH, 4, 2, 1), nn.ReLU(), nn.Conv1d(WIDTH, classes, 1), Moved(1, -1),
    )  # fmt: skip


def is_text(shape: tuple[int, ...]) -> bool:
    """Whether `text_trunk` takes a sequence of this shape."""
    return shape == (LENGTH,)


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether `image_trunk` takes an image of this shape."""
    try:
        _image(shape)
    except UsageError:
        return False
    return True


def _image(shape: tuple[int, ...]) -> tuple[int, bool]:
    """(channels, channels last?) of a 32×32 image."""
    channels, height, width, last = image_layout(shape)
    if (height, width) != (SIDE, SIDE):
        raise UsageError(f"this network takes {SIDE}×{SIDE} images; got {shape}. Use ConvTrunk or mlp.")
    return channels, last
