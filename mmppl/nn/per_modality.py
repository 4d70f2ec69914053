"""The encoders and decoders of programs in which every modality has one of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..modalities.images import image_layout, is_image
from ..modalities.modality import Modality
from .mlp import FullPrecision, mlp
from .options import NetworkOptions, Networks
from .sequence.conv1d import Conv1dDecoder, Conv1dEncoder
from .sequence.pooled import PooledEncoder, Statistics
from .sequence.recurrence import Cell
from .sequence.recurrent import RecurrentDecoder, RecurrentEncoder
from .sequence.transformer import TransformerDecoder, TransformerEncoder
from .strided import image_decoder, image_trunk, is_text, text_decoder, text_trunk

# Standard deviations of a linear path's output at the start. That of an encoder is small: W stays as it began in all
# directions that no training row has, and there are many where columns are more than rows.
ENCODER_GAIN, DECODER_GAIN = 0.05, 0.5
SERIES = ("gru", "lstm", "conv1d", "transformer")
WIDEST = 64  # states and tokens of networks over steps, which cost their square at every step
LEAST = 16  # pixels a side; on MFCC of 8 stretches of time, convolutions are worse (by 2 points on FSDD)


def encoders(modalities: Sequence[Modality], outputs: int, options: NetworkOptions) -> nn.ModuleDict:
    """Make one encoder for each modality.

    Images that are convolved are numbers of shape (H, W), (C, H, W) or (H, W, C) with C in 1, 3, 4, of at least 16
    pixels a side, as smaller arrays are as often tables. MLPs follow all options but `channels`; the networks of images
    follow `channels`, `norm` and `dropout`; those of texts follow none. With "conv-32", MNIST's images have MLPs in
    MNIST-SVHN-Text.

    Args:
        modalities: the modalities that are encoded.
        outputs: the size of each network's output.
        options: what the networks are made of.

    Returns:
        A network from (..., modality.input_size) to (..., outputs) for each name. Networks that are no MLPs see
        covariates after their own layers.

    Example:
        >>> m = Modality("x", (3,), "normal")
        >>> encoders([m], 4, NetworkOptions(hidden=8))["x"](torch.zeros(5, m.input_size)).shape
        torch.Size([5, 4])
    """

    def encoder(m: Modality, options: NetworkOptions) -> nn.Module:
        if m.gaps and (_is_image(m, options.networks) or _is_text(m, options.networks) or _of_steps(m, options)):
            raise UsageError(
                f"{m.name}: networks={options.networks} take no missing cells; choose networks=mlp, or fill them."
            )
        if m.covariates and (features := _structured(m.alone, _width(options), options)) is not None:
            head = _mlp(_width(options) + m.covariate_size, outputs, replace(options, layers=1), gain=ENCODER_GAIN)
            return CovariateEncoder(features, m.alone.input_size, head)
        own = _structured(m, outputs, options)
        return _mlp(m.input_size, outputs, options, gain=ENCODER_GAIN) if own is None else own

    of_each = options.of_each([m.role for m in modalities])
    return nn.ModuleDict({m.name: encoder(m, own) for m, own in zip(modalities, of_each)})


def _structured(m: Modality, outputs: int, options: NetworkOptions) -> nn.Module | None:
    """The encoder of a sequence, an image or a text by layers of its own; None where it gets an MLP."""
    if (series := sequence_encoder(m, outputs, options)) is not None:
        return series
    if _is_image(m, options.networks):
        trunk = image_trunk(m.shape, outputs, channels=options.channels, norm=options.norm, dropout=options.dropout)
        return nn.Sequential(trunk, FullPrecision())
    if _is_text(m, options.networks):
        return nn.Sequential(text_trunk(m.n_classes, outputs), FullPrecision())
    return None


class CovariateEncoder(nn.Module):
    """An encoder that sees covariates after the layers of the modality: (..., inputs + C) → (..., outputs).

    Args:
        features: from (..., inputs) to (..., F).
        inputs: the size of the input without covariates.
        head: from (..., F + C) to (..., outputs).
    """

    def __init__(self, features: nn.Module, inputs: int, head: nn.Module) -> None:
        super().__init__()
        self.features, self.inputs, self.head = features, inputs, head

    def forward(self, x: Tensor) -> Tensor:
        own = self.features(x[..., : self.inputs]).relu()
        return self.head(torch.cat([own, x[..., self.inputs :]], -1))


def decoders(modalities: Sequence[Modality], inputs: int, options: NetworkOptions) -> nn.ModuleDict:
    """Make one decoder for each modality, by the same options as `encoders`, but without dropout. With "conv-encoders"
    they are MLPs.

    Args:
        modalities: the modalities that are decoded.
        inputs: the size of the latent, or of whatever is decoded.
        options: what the networks are made of.

    Returns:
        A network for each name, from (..., inputs + covariates) to the parameters of the modality's likelihood,
        (..., modality.output_size). Under autocast its output stays in bfloat16.

    Example:
        >>> m = Modality("x", (3,), "normal", scale="predicted")
        >>> decoders([m], 2, NetworkOptions(hidden=8))["x"](torch.zeros(5, 2)).shape  # means and log-variances
        torch.Size([5, 6])
    """
    networks = "mlp" if options.networks == "conv-encoders" else options.networks

    def decoder(m: Modality, options: NetworkOptions) -> nn.Module:
        width = inputs + m.covariate_size
        if (series := sequence_decoder(width, m, options)) is not None:
            return series
        if _is_image(m, networks):
            parts = m.output_size // m.size
            return image_decoder(width, m.shape, parts=parts, channels=options.channels, norm=options.norm)
        if _is_text(m, networks):
            return text_decoder(width, m.n_classes)
        return _mlp(width, m.output_size, replace(options, dropout=0.0), gain=DECODER_GAIN, narrow=True)

    of_each = options.of_each([m.role for m in modalities])
    return nn.ModuleDict({m.name: decoder(m, own) for m, own in zip(modalities, of_each)})


class JointEncoder(nn.Module):
    """One encoder that sees all modalities and, after them, their covariates: (..., sum of input sizes without
    covariates, + C) → (..., outputs).

    It is an MLP on the concatenated inputs or, with convolutions, on `hidden` features from an encoder of each
    modality. Where each modality has a width of its own, its own is their sum.

    Args:
        modalities: the modalities that are encoded.
        outputs: the size of the output.
        options: what the network is made of.

    Example:
        >>> both = [Modality("x", (3,), "normal"), Modality("y", (2,), "normal")]
        >>> JointEncoder(both, 4, NetworkOptions(hidden=8))(torch.zeros(5, 3 + 2)).shape
        torch.Size([5, 4])
    """

    def __init__(self, modalities: Sequence[Modality], outputs: int, options: NetworkOptions) -> None:
        super().__init__()
        beside = modalities[0].covariate_size if modalities else 0
        modalities = [m.alone for m in modalities]
        self.sizes = [m.input_size for m in modalities]
        self.features: nn.ModuleList | None = None
        width = sum(self.sizes)
        if not isinstance(options.hidden, int):
            own = options.of_each([m.role for m in modalities])
            options = replace(options, hidden=sum(_width(o) for o, m in zip(own, modalities) if m.role != "label"))
        if options.networks != "mlp" and (options.networks != "auto" or any(m.sequence for m in modalities)):
            of_each = encoders(modalities, _width(options), replace(options, layers=1, dropout=0.0))
            self.features = nn.ModuleList(of_each.values())
            width = _width(options) * len(self.sizes)
        self.head = _mlp(width + beside, outputs, options, gain=ENCODER_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        if self.features is None:
            return self.head(x)
        inputs = sum(self.sizes)
        parts = zip(self.features, x[..., :inputs].split(self.sizes, -1))
        seen = torch.cat([network(part) for network, part in parts], -1).relu()
        return self.head(torch.cat([seen, x[..., inputs:]], -1))


def _width(options: NetworkOptions) -> int:
    """The width of the hidden layers of one network."""
    (own,) = options.of_each(["modality"])
    assert isinstance(own.hidden, int)
    return own.hidden


def _mlp(inputs: int, outputs: int, options: NetworkOptions, *, gain: float, narrow: bool = False) -> nn.Module:
    return mlp(
        inputs,
        _width(options),
        outputs,
        layers=options.layers,
        activation=options.activation,
        norm=options.norm,
        dropout=options.dropout,
        narrow=narrow,
        linear=gain if options.linear else 0.0,
    )


def _is_image(m: Modality, networks: Networks) -> bool:
    """Whether these networks convolve the modality as an image."""
    if not networks.startswith("conv") or networks == "conv1d" or not is_image(m):
        return False
    sides = image_layout(m.shape)[1:3]
    return sides == (32, 32) if networks == "conv-32" else min(sides) >= LEAST


def _is_text(m: Modality, networks: Networks) -> bool:
    """Whether these networks convolve the modality as a text."""
    convolves = networks.startswith("conv") and networks != "conv1d"
    return convolves and not m.sequence and m.classes is not None and is_text(m.shape)


def is_series(m: Modality) -> bool:
    """Whether networks over steps take a modality: a sequence, numbers of shape (steps, features), or classes of shape
    (steps,)."""
    return m.sequence or len(m.shape) == (1 if m.n_classes else 2)


def _of_steps(m: Modality, options: NetworkOptions) -> bool:
    """Whether these networks go over the steps of a modality."""
    return options.networks in SERIES and is_series(m)


def without_fit(modalities: Sequence[Modality], networks: Networks) -> list[str]:
    """List the modalities, labels left out, that get MLPs although other networks are asked for.

    Args:
        modalities: all of a program.
        networks: the networks that are asked for.

    Returns:
        Their names.

    Raises:
        UsageError: the networks fit none of them.
    """
    if networks in ("auto", "mlp"):
        return []
    own = [m for m in modalities if m.role == "modality"]
    fit = is_series if networks in SERIES else lambda m: _is_image(m, networks) or _is_text(m, networks)
    left = [m.name for m in own if not fit(m)]
    if own and len(left) == len(own):
        raise UsageError(
            f"networks={networks} fits none of {', '.join(left)}: "
            + ("they are no series (steps, features)" if networks in SERIES else "they are no images or texts")
            + "; leave it out."
        )
    return left


def sequence_encoder(m: Modality, outputs: int, options: NetworkOptions) -> nn.Module | None:
    """Make the encoder over steps that the options ask for; None where they ask for none, or it takes no such modality.

    Args:
        m: the modality.
        outputs: the size of the output.
        options: of one width.

    Returns:
        A network from (..., modality.input_size) to (..., outputs).
    """
    networks, hidden, dropout = options.networks, _width(options), options.dropout
    if networks == "auto" and m.sequence:
        statistics = Statistics(m)
        pooled = _mlp(statistics.size, outputs, options, gain=ENCODER_GAIN)
        series = Conv1dEncoder(m, outputs, channels=options.channels, dropout=dropout)
        return PooledEncoder(statistics, pooled, series)
    if networks not in SERIES or not is_series(m):
        return None
    if networks == "conv1d":
        return Conv1dEncoder(m, outputs, channels=2 * options.channels, dropout=dropout)
    if networks == "transformer":
        return TransformerEncoder(m, outputs, hidden=min(hidden, WIDEST), dropout=dropout)
    cell: Cell = "gru" if networks == "gru" else "lstm"
    return RecurrentEncoder(m, outputs, cell=cell, hidden=min(hidden, WIDEST), dropout=dropout)


def sequence_decoder(inputs: int, m: Modality, options: NetworkOptions) -> nn.Module | None:
    """Make the decoder over steps that the options ask for; None where they ask for none, or it takes no such modality.

    Args:
        inputs: the size of what is decoded.
        m: the modality.
        options: of one width.

    Returns:
        A network from (..., inputs) to (..., modality.output_size).
    """
    networks, hidden = options.networks, min(_width(options), WIDEST)
    if networks not in SERIES or not is_series(m):
        return None
    if networks == "conv1d":
        return Conv1dDecoder(inputs, m, channels=options.channels)
    if networks == "transformer":
        return TransformerDecoder(inputs, m, hidden=hidden)
    cell: Cell = "gru" if networks == "gru" else "lstm"
    return RecurrentDecoder(inputs, m, cell=cell, hidden=hidden)
