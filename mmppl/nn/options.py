"""The options of encoders and decoders, for programs in which every modality has one of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import UsageError

Networks = Literal["auto", "mlp", "conv", "conv-encoders", "conv-32", "gru", "lstm", "conv1d", "transformer"]


@dataclass(frozen=True)
class NetworkOptions:
    """What encoders and decoders are made of.

    As the default of a program's keyword argument it stands for its fields, each of which is a hyper-parameter of the
    program: `--set hidden=64`, or `MVAE(modalities, hidden=64)`.

    Args:
        networks: "auto": MLPs, and for sequences of unequal length encoders of statistics over the steps and of
            convolutions along them; "mlp"; "gru", "lstm", "conv1d" or "transformer": such networks for sequences, for
            other numbers of shape (steps, features) and for classes of shape (steps,), MLPs for the rest; "conv": the
            convolutions of MNIST-SVHN-Text for images of at least 16 pixels a side and texts of 8 characters, MLPs for
            the rest; "conv-32": the same, but of images only for those of 32×32, as in the authors' code; or
            "conv-encoders": like "conv", but decoders, which may run for every subset, are MLPs. A fit tells which
            modalities get MLPs so, and refuses networks that fit none.
        channels: number of channels of the first convolution over an image, and of those along steps.
        hidden: width of each hidden layer; or one width for each modality in their order, labels left out: then a
            label's networks are as wide as the narrowest, and a joint encoder as all of them together.
        layers: number of hidden layers of every encoder and decoder.
        activation: activation of the hidden layers: relu, silu, softplus, tanh or gelu.
        norm: whether LayerNorm comes before each activation.
        dropout: rate of the dropout in the encoders.
        linear: whether MLPs have a linear path beside their hidden layers, which begin at zero and are decayed
            (`mmppl.nn.mlp.LinearPath`). Convolutions have none.

    Example:
        >>> NetworkOptions(hidden=64, layers=1).activation
        'silu'
        >>> [own.hidden for own in NetworkOptions(hidden=(500, 100)).of_each(["modality", "label", "modality"])]
        [500, 100, 100]
    """

    networks: Networks = "auto"
    channels: int = 32
    hidden: int | tuple[int, ...] = 256
    layers: int = 2
    activation: str = "silu"
    norm: bool = True
    dropout: float = 0.0
    linear: bool = True

    def of_each(self, roles: Sequence[str]) -> list[NetworkOptions]:
        """The options for each of some modalities, of one width each.

        Args:
            roles: "modality" or "label", of all that have networks.

        Returns:
            As many options.

        Raises:
            UsageError: `hidden` has another number of widths than there are modalities.
        """
        if isinstance(self.hidden, int):
            return [self] * len(roles)
        widths = iter(self.hidden)
        number = sum(role != "label" for role in roles)
        if len(self.hidden) != number or not number:
            raise UsageError(f"hidden {self.hidden}: expected one width, or one for each of the {number} modalities.")
        return [replace(self, hidden=min(self.hidden) if role == "label" else next(widths)) for role in roles]
