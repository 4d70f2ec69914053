"""The encoders and decoders of programs in which every modality has one of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..modalities.images import image_layout, is_image
from ..modalities.modality import Modality
from .mlp import FullPrecision, mlp
from .strided import CHANNELS, image_decoder, image_trunk, is_text, text_decoder, text_trunk

Networks = Literal["mlp", "conv", "conv-encoders", "conv-32"]
LEAST = 16  # pixels a side; MFCC of 8 stretches are not seen better by convolutions (2 points worse on FSDD)


def encoders(
    modalities: Sequence[Modality],
    outputs: int,
    *,
    networks: Networks = "mlp",
    channels: int = CHANNELS,
    hidden: int,
    layers: int = 1,
    activation: str = "relu",
    norm: bool = False,
    dropout: float = 0.0,
) -> nn.ModuleDict:
    """name → network from (..., input size) to (..., outputs).

    Args:
        networks: "mlp", as in `mmppl.nets.mlp` with the other arguments; or "conv" or "conv-encoders": those of
            `mmppl.convolutions` for images (numbers of shape (H, W), (C, H, W) or (H, W, C) with C in 1, 3, 4, of at
            least 16 a side: smaller ones are as often tables) and texts of 8, and an MLP for the rest. Of the other
            arguments images take norm and dropout, texts none. "conv-32": likewise, but of images only those of 32×32
            (in MNIST-SVHN-Text those of MNIST have MLPs).
        channels: of the first convolution over an image.
    """
    convolved = networks != "mlp"

    def encoder(m: Modality) -> nn.Module:
        if convolved and _convolves(m, networks):
            return nn.Sequential(
                image_trunk(m.shape, outputs, channels=channels, norm=norm, dropout=dropout), FullPrecision()
            )
        if convolved and m.classes is not None and is_text(m.shape):
            return nn.Sequential(text_trunk(m.n_classes, outputs), FullPrecision())
        return mlp(m.input_size, hidden, outputs, layers=layers, activation=activation, norm=norm, dropout=dropout)

    return nn.ModuleDict({m.name: encoder(m) for m in modalities})


def decoders(
    modalities: Sequence[Modality],
    inputs: int,
    *,
    networks: Networks = "mlp",
    channels: int = CHANNELS,
    hidden: int,
    layers: int = 1,
    activation: str = "relu",
    norm: bool = False,
) -> nn.ModuleDict:
    """name → network from (..., inputs) to the parameters of its likelihood, (..., output size), left in bfloat16 under
    autocast; as `encoders`, but "conv-encoders" are MLPs here."""
    convolved = networks in ("conv", "conv-32")

    def decoder(m: Modality) -> nn.Module:
        if convolved and _convolves(m, networks):
            return image_decoder(inputs, m.shape, parts=m.output_size // m.size, channels=channels, norm=norm)
        if convolved and m.classes is not None and is_text(m.shape):
            return text_decoder(inputs, m.n_classes)
        return mlp(inputs, hidden, m.output_size, layers=layers, activation=activation, norm=norm, narrow=True)

    return nn.ModuleDict({m.name: decoder(m) for m in modalities})


class JointEncoder(nn.Module):
    """One network that sees all modalities: (..., sum of input sizes) → (..., outputs).

    An MLP on the concatenated inputs; with convolutions, on `hidden` features from an encoder of each.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        outputs: int,
        *,
        networks: Networks = "mlp",
        channels: int = CHANNELS,
        hidden: int,
        layers: int = 1,
        activation: str = "relu",
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.sizes = [m.input_size for m in modalities]
        self.features: nn.ModuleList | None = None
        width = sum(self.sizes)
        if networks != "mlp":
            kind: dict[str, Any] = dict(
                networks=networks, channels=channels, hidden=hidden, activation=activation, norm=norm
            )
            of_each = encoders(modalities, hidden, **kind)
            self.features = nn.ModuleList(of_each.values())
            width = hidden * len(self.sizes)
        self.head = mlp(width, hidden, outputs, layers=layers, activation=activation, norm=norm, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.features is None:
            return self.head(x)
        parts = zip(self.features, x.split(self.sizes, -1))
        return self.head(torch.cat([network(part) for network, part in parts], -1).relu())


def _convolves(m: Modality, networks: Networks) -> bool:
    """Whether convolutions go over an image: it is one, and large enough."""
    if not is_image(m):
        return False
    sides = image_layout(m.shape)[1:3]
    return sides == (32, 32) if networks == "conv-32" else min(sides) >= LEAST
