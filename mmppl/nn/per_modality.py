"""The encoders and decoders of programs in which every modality has one of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..modalities.images import image_layout, is_image
from ..modalities.modality import Modality
from .mlp import FullPrecision, mlp
from .options import NetworkOptions, Networks
from .strided import image_decoder, image_trunk, is_text, text_decoder, text_trunk

LEAST = 16  # pixels a side; MFCC of 8 stretches are not seen better by convolutions (2 points worse on FSDD)


def encoders(modalities: Sequence[Modality], outputs: int, options: NetworkOptions) -> nn.ModuleDict:
    """One network for each modality.

    Images that are convolved are numbers of shape (H, W), (C, H, W) or (H, W, C) with C in 1, 3, 4, of at least 16 a
    side: smaller ones are as often tables. Of the options, MLPs take all but `channels`; images `channels`, `norm` and
    `dropout`; texts none. With "conv-32" MNIST's images have MLPs, in MNIST-SVHN-Text.

    Args:
        outputs: size of each network's output.
        options: what they are made of.
    Returns:
        name → network from (..., modality.input_size) to (..., outputs).
    """

    def encoder(m: Modality) -> nn.Module:
        if _is_image(m, options.networks):
            trunk = image_trunk(m.shape, outputs, channels=options.channels, norm=options.norm, dropout=options.dropout)
            return nn.Sequential(trunk, FullPrecision())
        if _is_text(m, options.networks):
            return nn.Sequential(text_trunk(m.n_classes, outputs), FullPrecision())
        return _mlp(m.input_size, outputs, options)

    return nn.ModuleDict({m.name: encoder(m) for m in modalities})


def decoders(modalities: Sequence[Modality], inputs: int, options: NetworkOptions) -> nn.ModuleDict:
    """One network for each modality, by the same options, but without dropout; with "conv-encoders", MLPs.

    Args:
        inputs: size of the latent, or of what else is decoded.
        options: what they are made of.
    Returns:
        name → network from (..., inputs) to the parameters of the modality's likelihood, (..., modality.output_size),
        left in bfloat16 under autocast.
    """
    networks = "mlp" if options.networks == "conv-encoders" else options.networks

    def decoder(m: Modality) -> nn.Module:
        if _is_image(m, networks):
            parts = m.output_size // m.size
            return image_decoder(inputs, m.shape, parts=parts, channels=options.channels, norm=options.norm)
        if _is_text(m, networks):
            return text_decoder(inputs, m.n_classes)
        return _mlp(inputs, m.output_size, replace(options, dropout=0.0), narrow=True)

    return nn.ModuleDict({m.name: decoder(m) for m in modalities})


class JointEncoder(nn.Module):
    """One network that sees all modalities: (..., sum of input sizes) → (..., outputs).

    An MLP on the concatenated inputs; with convolutions, on `hidden` features from an encoder of each.
    """

    def __init__(self, modalities: Sequence[Modality], outputs: int, options: NetworkOptions) -> None:
        super().__init__()
        self.sizes = [m.input_size for m in modalities]
        self.features: nn.ModuleList | None = None
        width = sum(self.sizes)
        if options.networks != "mlp":
            of_each = encoders(modalities, options.hidden, replace(options, layers=1, dropout=0.0))
            self.features = nn.ModuleList(of_each.values())
            width = options.hidden * len(self.sizes)
        self.head = _mlp(width, outputs, options)

    def forward(self, x: Tensor) -> Tensor:
        if self.features is None:
            return self.head(x)
        parts = zip(self.features, x.split(self.sizes, -1))
        return self.head(torch.cat([network(part) for network, part in parts], -1).relu())


def _mlp(inputs: int, outputs: int, options: NetworkOptions, *, narrow: bool = False) -> nn.Sequential:
    return mlp(
        inputs,
        options.hidden,
        outputs,
        layers=options.layers,
        activation=options.activation,
        norm=options.norm,
        dropout=options.dropout,
        narrow=narrow,
    )


def _is_image(m: Modality, networks: Networks) -> bool:
    """Whether these networks convolve the modality as an image."""
    if networks == "mlp" or not is_image(m):
        return False
    sides = image_layout(m.shape)[1:3]
    return sides == (32, 32) if networks == "conv-32" else min(sides) >= LEAST


def _is_text(m: Modality, networks: Networks) -> bool:
    """Whether these networks convolve the modality as a text."""
    return networks != "mlp" and m.classes is not None and is_text(m.shape)
