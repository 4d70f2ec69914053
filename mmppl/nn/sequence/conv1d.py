"""Convolutional encoders and decoders of sequences, along the steps."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...modalities.modality import Modality
from ..mlp import Dropout, FullPrecision
from .layout import StepLayout, mean_over_steps

KERNEL, DILATIONS = 5, (1, 2, 4)  # steps that a convolution sees, and how far apart in each layer: 29 in all


class Conv1dEncoder(nn.Module):
    """(..., input_size) → (..., outputs): three dilated convolutions with residual paths, normed at each step, then
    mean and maximum over the steps.

    After each layer steps that do not exist are 0 again, as beyond the ends, so that the output does not depend on how
    many there are.

    Args:
        m: the modality.
        outputs: the size of the output.
        channels: of every layer.
        dropout: rate of the dropout before the last layer.

    Example:
        >>> m = Modality("watch", (9, 3), "normal", sequence=True)
        >>> Conv1dEncoder(m, 4, channels=8)(torch.zeros(2, m.input_size)).shape
        torch.Size([2, 4])
    """

    def __init__(self, m: Modality, outputs: int, *, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layout = StepLayout.of(m)
        self.first = nn.Linear(self.layout.columns, channels)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, KERNEL, padding=KERNEL // 2 * d, dilation=d) for d in DILATIONS
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in DILATIONS)
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(2 * channels, outputs), FullPrecision())

    def forward(self, x: Tensor) -> Tensor:
        steps, there = self.layout.read(x)
        kept = there.unsqueeze(-1)
        h = torch.where(kept, self.first(steps), 0.0)
        for convolution, norm in zip(self.convolutions, self.norms):
            seen = convolution(h.transpose(1, 2)).transpose(1, 2)
            h = torch.where(kept, h + F.silu(norm(seen)), 0.0)
        most = torch.where(kept, h, -torch.inf).amax(1)
        most = torch.where(there.any(1, keepdim=True), most, 0.0)
        return self.head(torch.cat([mean_over_steps(h, there), most], -1)).reshape(*x.shape[:-1], -1)


class Conv1dDecoder(nn.Module):
    """(..., inputs) → (..., output_size): a short series that two nearest-neighbour steps grow to all steps.

    Args:
        inputs: the size of what is decoded.
        m: the modality.
        channels: before the last layer.

    Example:
        >>> m = Modality("watch", (9, 3), "normal", sequence=True)
        >>> Conv1dDecoder(4, m, channels=8)(torch.zeros(5, 2, 4)).shape
        torch.Size([5, 2, 27])
    """

    def __init__(self, inputs: int, m: Modality, *, channels: int) -> None:
        super().__init__()
        self.layout = StepLayout.of(m)
        self.small = (2 * channels, -(-self.layout.steps // 4))
        self.start = nn.Linear(inputs, self.small[0] * self.small[1])
        self.grow = nn.ModuleList(
            [nn.Conv1d(2 * channels, channels, KERNEL, padding=2), nn.Conv1d(channels, channels, KERNEL, padding=2)]
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in self.grow)
        self.last = nn.Conv1d(channels, self.layout.outputs, KERNEL, padding=KERNEL // 2)

    def forward(self, z: Tensor) -> Tensor:
        h = F.silu(self.start(z.reshape(math.prod(z.shape[:-1]), z.shape[-1]))).unflatten(-1, self.small)
        for convolution, norm in zip(self.grow, self.norms):
            h = convolution(h.repeat_interleave(2, -1))
            h = F.silu(norm(h.transpose(1, 2))).transpose(1, 2)
        y = self.last(h)[..., : self.layout.steps]
        return self.layout.write(y.transpose(1, 2), z.shape[:-1])
