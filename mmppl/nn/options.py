"""The options of encoders and decoders, for programs in which every modality has one of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Networks = Literal["mlp", "conv", "conv-encoders", "conv-32"]


@dataclass(frozen=True)
class NetworkOptions:
    """What encoders and decoders are made of.

    As the default of a program's keyword argument it stands for its fields, each of which is a hyper-parameter of the
    program: `--set hidden=64`, or `MVAE(modalities, hidden=64)`.

    Args:
        networks: "mlp"; "conv": the convolutions of MNIST-SVHN-Text for images of at least 16 pixels a side and texts
            of 8 characters, MLPs for the rest; "conv-32": the same, but of images only for those of 32×32, as in the
            authors' code; or "conv-encoders": like "conv", but decoders, which may run for every subset, are MLPs.
        channels: number of channels of the first convolution over an image.
        hidden: width of each hidden layer.
        layers: number of hidden layers of every encoder and decoder.
        activation: activation of the hidden layers: relu, silu, softplus, tanh or gelu.
        norm: whether LayerNorm comes before each activation.
        dropout: rate of the dropout in the encoders.
        linear: whether MLPs have a linear path beside their hidden layers, which begin at zero and are decayed
            (`mmppl.nn.mlp.LinearPath`). Convolutions have none.

    Example:
        >>> NetworkOptions(hidden=64, layers=1).activation
        'silu'
    """

    networks: Networks = "mlp"
    channels: int = 32
    hidden: int = 256
    layers: int = 2
    activation: str = "silu"
    norm: bool = True
    dropout: float = 0.0
    linear: bool = True
