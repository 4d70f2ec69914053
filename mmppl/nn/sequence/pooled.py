"""The default encoder of sequences: statistics over the steps and convolutions along them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...modalities.modality import Modality
from .conv1d import Conv1dEncoder
from .layout import StepLayout, mean_over_steps


class Statistics(nn.Module):
    """(..., input_size) → (..., 3 columns + 1): of every column the mean, the standard deviation and that of the change
    from step to step, and the share of the steps that exist.

    Args:
        m: the modality.

    Example:
        >>> m = Modality("watch", (2, 1), "normal", sequence=True)
        >>> Statistics(m)(m.as_input(torch.tensor([[[1.0], [3.0]]])))
        tensor([[2., 1., 2., 1.]])
    """

    def __init__(self, m: Modality) -> None:
        super().__init__()
        self.layout = StepLayout.of(m)
        self.size = 3 * self.layout.columns + 1

    def forward(self, x: Tensor) -> Tensor:
        steps, there = self.layout.read(x)
        mean = mean_over_steps(steps, there)
        spread = _root(mean_over_steps((steps - mean.unsqueeze(1)).square(), there))
        change = _root(mean_over_steps((steps[:, 1:] - steps[:, :-1]).square(), there[:, 1:] & there[:, :-1]))
        length = there.to(steps.dtype).mean(1, keepdim=True)
        return torch.cat([mean, spread, change, length], -1).reshape(*x.shape[:-1], -1)


def _root(square: Tensor) -> Tensor:
    """The square root, whose slope at 0 is 0."""
    return torch.where(square > 0, square, 1.0).sqrt() * (square > 0)


class PooledEncoder(nn.Module):
    """The sum of a network on `Statistics` and convolutions along the steps, which begin at zero.

    Args:
        statistics: of the modality.
        pooled: from the statistics to the outputs.
        series: from the flat input to the outputs.
    """

    def __init__(self, statistics: Statistics, pooled: nn.Module, series: Conv1dEncoder) -> None:
        super().__init__()
        for parameter in series.head.parameters():
            nn.init.zeros_(parameter)
        self.statistics, self.pooled, self.series = statistics, pooled, series

    def forward(self, x: Tensor) -> Tensor:
        return self.pooled(self.statistics(x)) + self.series(x)
