"""The optimiser and its learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..core.program import Program


class LRSchedule:
    """The learning-rate schedule and the program's progress, as functions of the step."""

    def __init__(self, program: Program, optimiser: torch.optim.Adam, training: Mapping[str, Any], steps: int) -> None:
        self.program, self.optimiser, self.steps = program, optimiser, steps
        self.lr, self.schedule = training["lr"], training["schedule"]

    def set(self, step: int) -> None:
        done = step / self.steps
        self.program.progress.fill_(done)
        if self.schedule == "cosine":
            for group in self.optimiser.param_groups:
                lr = self.lr * 0.5 * (1 + math.cos(math.pi * done))
                if isinstance(group["lr"], Tensor):  # a captured optimiser reads it from the GPU's memory
                    group["lr"].fill_(lr)
                else:
                    group["lr"] = lr


def adam(program: Program, lr: float, device: torch.device) -> torch.optim.Adam:
    """Adam in one pass over all parameters; on a GPU one that a graph can hold, with its rate in the GPU's memory."""
    fused = {p.dtype for p in program.parameters()} <= {torch.float32, torch.float64}
    if device.type != "cuda":
        return torch.optim.Adam(program.parameters(), lr=lr, fused=fused)
    return torch.optim.Adam(program.parameters(), lr=torch.tensor(lr, device=device), fused=fused, capturable=True)


def mutable_state(program: Program, optimiser: torch.optim.Adam) -> list[Tensor]:
    """Everything that a step changes in place."""
    moments = [t for state in optimiser.state.values() for t in state.values()]
    return [*program.parameters(), *program.buffers(), *moments]
