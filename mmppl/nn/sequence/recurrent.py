"""Recurrent encoders and decoders of sequences: GRU and LSTM."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ...base.precision import full_precision
from ...modalities.modality import Modality
from ..mlp import Dropout, FullPrecision
from .layout import StepLayout, mean_over_steps, places
from .recurrence import GATES, Cell, recurrence

WAVES = 16  # sinusoids of the number of a step, by which a decoder knows where it is


class Recurrent(nn.Module):
    """One layer of a GRU or an LSTM: (N, T, inputs) → (N, T, hidden), the states after each step.

    Args:
        cell: "gru" or "lstm".
        inputs: the number of columns of a step.
        hidden: the size of the state.
        reverse: whether it runs from the last step to the first.
    """

    def __init__(self, cell: Cell, inputs: int, hidden: int, *, reverse: bool = False) -> None:
        super().__init__()
        self.cell, self.reverse = cell, reverse
        self.inputs = nn.Linear(inputs, GATES[cell] * hidden)
        self.weight = nn.Parameter(torch.empty(GATES[cell] * hidden, hidden))
        self.bias = nn.Parameter(torch.zeros(GATES[cell] * hidden))
        for block in self.weight.data.split(hidden):
            nn.init.orthogonal_(block)  # so that a gradient neither dies nor grows on its way along the steps
        if cell == "lstm":
            nn.init.ones_(self.bias.data[hidden : 2 * hidden])  # an open forget gate (Gers et al. 2000)

    def forward(self, steps: Tensor, there: Tensor) -> Tensor:
        inputs = full_precision(self.inputs(steps))
        return recurrence(self.cell, inputs, there, self.weight, self.bias, reverse=self.reverse)


class RecurrentEncoder(nn.Module):
    """(..., input_size) → (..., outputs): one layer in each direction, its last states and the mean of all.

    A step that does not exist leaves the states as they are, so that the output does not depend on how many there are.

    Args:
        m: the modality.
        outputs: the size of the output.
        cell: "gru" or "lstm".
        hidden: the size of both states together.
        dropout: rate of the dropout before the last layer.

    Example:
        >>> m = Modality("watch", (9, 3), "normal", sequence=True)
        >>> RecurrentEncoder(m, 4, cell="gru", hidden=8)(torch.zeros(2, m.input_size)).shape
        torch.Size([2, 4])
    """

    def __init__(self, m: Modality, outputs: int, *, cell: Cell, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layout = StepLayout.of(m)
        width = max(1, hidden // 2)
        self.layers = nn.ModuleList(
            Recurrent(cell, self.layout.columns, width, reverse=reverse) for reverse in (False, True)
        )
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(4 * width, outputs), FullPrecision())

    def forward(self, x: Tensor) -> Tensor:
        steps, there = self.layout.read(x)
        found = []
        for layer, end in zip(self.layers, (-1, 0)):
            states = layer(steps, there)
            found += [states[:, end], mean_over_steps(states, there)]
        return self.head(torch.cat(found, -1)).reshape(*x.shape[:-1], -1)


class RecurrentDecoder(nn.Module):
    """(..., inputs) → (..., output_size): every step sees what is decoded, and the number of the step.

    Args:
        inputs: the size of what is decoded.
        m: the modality.
        cell: "gru" or "lstm".
        hidden: the size of the state.

    Example:
        >>> m = Modality("watch", (9, 3), "normal", sequence=True)
        >>> RecurrentDecoder(4, m, cell="lstm", hidden=8)(torch.zeros(5, 2, 4)).shape
        torch.Size([5, 2, 27])
    """

    places: Tensor

    def __init__(self, inputs: int, m: Modality, *, cell: Cell, hidden: int) -> None:
        super().__init__()
        self.layout = StepLayout.of(m)
        self.layer = Recurrent(cell, WAVES, hidden)
        self.latent = nn.Linear(inputs, GATES[cell] * hidden)
        self.head = nn.Linear(hidden, self.layout.outputs)
        self.register_buffer("places", places(self.layout.steps, WAVES), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        rows = z.reshape(math.prod(z.shape[:-1]), z.shape[-1])
        layer = self.layer
        gates = full_precision(self.latent(rows)).unsqueeze(1) + full_precision(layer.inputs(self.places))
        there = torch.ones(gates.shape[:2], dtype=torch.bool, device=z.device)
        states = recurrence(layer.cell, gates, there, layer.weight, layer.bias)
        return self.layout.write(self.head(states), z.shape[:-1])
