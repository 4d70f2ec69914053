"""The encoders and decoders of programs in which every modality has one of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .convolutions import image_decoder, image_trunk, is_image, is_text, text_decoder, text_trunk
from .modality import Modality
from .nets import FullPrecision, mlp

Networks = Literal["mlp", "conv"]


def encoders(
    modalities: Sequence[Modality],
    outputs: int,
    *,
    networks: Networks = "mlp",
    hidden: int,
    layers: int = 1,
    activation: str = "relu",
    norm: bool = False,
    dropout: float = 0.0,
) -> nn.ModuleDict:
    """name → network from (..., input size) to (..., outputs).

    Args:
        networks: "mlp", as in `mmppl.nets.mlp` with the other arguments; or "conv": those of `mmppl.convolutions` for
            32×32 images and texts of 8, which take none of the other arguments, and an MLP for the rest.
    """

    def encoder(m: Modality) -> nn.Module:
        if networks == "conv" and m.classes is None and is_image(m.shape):
            return nn.Sequential(image_trunk(m.shape, outputs), FullPrecision())
        if networks == "conv" and m.classes is not None and is_text(m.shape):
            return nn.Sequential(text_trunk(m.n_classes, outputs), FullPrecision())
        return mlp(m.input_size, hidden, outputs, layers=layers, activation=activation, norm=norm, dropout=dropout)

    return nn.ModuleDict({m.name: encoder(m) for m in modalities})


def decoders(
    modalities: Sequence[Modality],
    inputs: int,
    *,
    networks: Networks = "mlp",
    hidden: int,
    layers: int = 1,
    activation: str = "relu",
    norm: bool = False,
) -> nn.ModuleDict:
    """name → network from (..., inputs) to the parameters of its likelihood, (..., output size), left in bfloat16 under
    autocast; as `encoders`, but a likelihood that wants several numbers per pixel gets an MLP."""

    def decoder(m: Modality) -> nn.Module:
        if networks == "conv" and m.classes is None and is_image(m.shape) and m.output_size == m.size:
            return image_decoder(inputs, m.shape)
        if networks == "conv" and m.classes is not None and is_text(m.shape):
            return text_decoder(inputs, m.n_classes)
        return mlp(inputs, hidden, m.output_size, layers=layers, activation=activation, norm=norm, narrow=True)

    return nn.ModuleDict({m.name: decoder(m) for m in modalities})


class JointEncoder(nn.Module):
    """One network that sees all modalities: (..., sum of input sizes) → (..., outputs).

    An MLP on the concatenated inputs; with networks "conv", on `hidden` features from an encoder of each.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        outputs: int,
        *,
        networks: Networks = "mlp",
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
        if networks == "conv":
            of_each = encoders(modalities, hidden, networks=networks, hidden=hidden, activation=activation, norm=norm)
            self.features = nn.ModuleList(of_each.values())
            width = hidden * len(self.sizes)
        self.head = mlp(width, hidden, outputs, layers=layers, activation=activation, norm=norm, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.features is None:
            return self.head(x)
        parts = zip(self.features, x.split(self.sizes, -1))
        return self.head(torch.cat([network(part) for network, part in parts], -1).relu())
