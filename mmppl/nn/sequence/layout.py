"""How the steps of a sequence lie in the flat input of an encoder and in the flat output of a decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...modalities.modality import Modality


@dataclass(frozen=True)
class StepLayout:
    """T steps of some columns, as networks read and write them.

    Args:
        steps: T.
        columns: of each step of an encoder's input, without the one that says whether the step exists.
        marked: whether there is such a column, the last of each step; else all steps exist.
        outputs: how many numbers a decoder returns for each step.
        parts: how many of those belong to one feature and lie apart: first those of one part for all steps.

    Example:
        >>> watch = Modality("watch", (3, 2), "normal", sequence=True)
        >>> layout = StepLayout.of(watch)
        >>> steps, there = layout.read(watch.as_input(torch.ones(1, 3, 2), torch.tensor([[[True], [True], [False]]])))
        >>> steps.tolist(), there.tolist()
        ([[[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]], [[True, True, False]])
    """

    steps: int
    columns: int
    marked: bool
    outputs: int
    parts: int

    @classmethod
    def of(cls, m: Modality) -> StepLayout:
        """Return the layout of a sequence, of numbers of shape (T, F), or of classes of shape (T,)."""
        steps = m.shape[0]
        columns = m.input_size // steps - m.sequence
        parts = 1 if m.n_classes else m.output_size // m.size
        return cls(steps, columns, m.sequence, m.output_size // steps, parts)

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Split an encoder's input.

        Args:
            x: (..., input_size).

        Returns:
            (N, T, columns) for the N rows of `x`, and (N, T) bool, the steps that exist.
        """
        steps = x.reshape(math.prod(x.shape[:-1]), self.steps, -1)
        if not self.marked:
            return steps, torch.ones(steps.shape[:2], dtype=torch.bool, device=x.device)
        return steps[..., :-1], steps[..., -1] > 0

    def write(self, y: Tensor, lead: torch.Size) -> Tensor:
        """Join a decoder's steps.

        Args:
            y: (N, T, outputs).
            lead: the batch shape of the N rows.

        Returns:
            (*lead, T · outputs), in the order that the likelihood reads.
        """
        if self.parts > 1:
            y = y.unflatten(-1, (self.parts, -1)).movedim(-2, 1)
        return y.reshape(*lead, self.steps * self.outputs)


def mean_over_steps(states: Tensor, there: Tensor) -> Tensor:
    """Average over the steps that exist.

    Args:
        states: (N, T, C), finite.
        there: (N, T) bool.

    Returns:
        (N, C); 0 where there is no step.
    """
    kept = there.unsqueeze(-1).to(states.dtype)
    return (states * kept).sum(1) / kept.sum(1).clamp_min(1)


def places(steps: int, size: int, period: float = 1e4) -> Tensor:
    """Sinusoids of the number of a step, by which a network knows where it is.

    Args:
        steps: T.
        size: how many.
        period: the longest wave over 2π, in steps.

    Returns:
        (T, size).

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """
    number = torch.arange(steps, dtype=torch.float64).unsqueeze(-1)
    waves = number / period ** (2 * torch.arange(-(-size // 2), dtype=torch.float64) / size)
    return torch.stack([waves.sin(), waves.cos()], -1).flatten(1)[:, :size].float()
