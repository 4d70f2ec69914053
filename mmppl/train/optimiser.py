"""The optimisers of the groups, their learning rates, and what of them a state keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.program import Program
from ..core.stages import Group
from ..errors import UsageError, suggest
from .fused_adam import FusedAdam
from .settings import FitSettings

Optimiser = FusedAdam | torch.optim.Optimizer

MOMENTS = dict.fromkeys(("adam", "adamw"), ("step", "exp_avg", "exp_avg_sq")) | {"sgd": ("momentum_buffer",)}
OPTIONS: dict[str, tuple[str, ...]] = dict.fromkeys(("adam", "adamw"), ("betas", "eps", "weight_decay"))
OPTIONS["sgd"] = ("momentum", "dampening", "weight_decay", "nesterov")
WEIGHT_DECAY = {"adamw": 1e-2}  # where a group names none, as in PyTorch
DECAY = 0.1  # of what a group has `decayed`


def optimiser_of(group: Group, lr: float, device: torch.device) -> Optimiser:
    """The optimiser of a group, in one pass over its parameters; on a GPU one that a graph can hold, with its rate in
    the GPU's memory.

    Args:
        group: says which.
        lr: for a group that names none.
        device: of the parameters.

    Raises:
        UsageError: an option that the optimiser does not have, or a parameter that is neither float32 nor float64.
    """
    known = OPTIONS[group.optimiser]
    for name in group.options:
        if name not in known:
            raise UsageError(
                f"group {group.name!r}: {group.optimiser} has no option {name!r}; it has {', '.join(known)}."
                + suggest(name, known)
            )
    for parameter in group.parameters:
        if parameter.dtype not in (torch.float32, torch.float64):
            raise UsageError(
                f"group {group.name!r}: a parameter is {parameter.dtype}; keep parameters in float32 or float64 "
                "(--precision bf16 runs networks in bfloat16)."
            )
    rate = group.lr or lr
    placed = torch.tensor(rate, device=device) if device.type == "cuda" else rate
    if group.optimiser == "sgd":
        return torch.optim.SGD(group.parameters, lr=placed, fused=True, **group.options)
    decay = {"weight_decay": WEIGHT_DECAY.get(group.optimiser, 0.0)}
    own: dict[str, Any] = dict(decoupled=group.optimiser == "adamw", decayed=group.decayed, decay=DECAY)
    own |= dict(speeds=group.speeds)
    return FusedAdam(group.parameters, placed, **own, **{**decay, **group.options})


def adam(program: Program, lr: float, device: torch.device) -> Optimiser:
    """The optimiser of a program that declares no groups: Adam over all parameters."""
    return optimiser_of(Group("program", program.parameters()), lr, device)


class LRSchedule:
    """The learning rates of some optimisers as a function of the step.

    Args:
        optimisers: their rates, as they are now, are those at the beginning.
        settings: name the schedule.
        steps: that it runs over.
        first: the step at which it begins.
    """

    def __init__(self, optimisers: Sequence[Optimiser], settings: FitSettings, steps: int, first: int = 0) -> None:
        self.steps, self.first = steps, first
        groups = [group for optimiser in optimisers for group in optimiser.param_groups]
        self.rates = [(group, float(group["lr"])) for group in groups] if settings.schedule == "cosine" else []

    def set(self, step: int) -> None:
        """Set the rates of this step, counted over the whole fit."""
        done = (step - self.first) / self.steps
        for group, begin in self.rates:
            lr = begin * 0.5 * (1 + math.cos(math.pi * done))
            if isinstance(group["lr"], Tensor):  # a captured optimiser reads it from the GPU's memory
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr


def move(groups: Sequence[tuple[Group, Optimiser]], clip: float | None) -> None:
    """Clip the gradients of each group by their norm, and move its parameters."""
    for group, optimiser in groups:
        if clip is not None:
            for parameter in group.parameters:
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.clone()  # two may share memory
            torch.nn.utils.clip_grad_norm_(group.parameters, clip)
        optimiser.step()


def mutable_state(program: Program, optimisers: Sequence[Optimiser]) -> list[Tensor]:
    """Everything that a step changes in place."""
    moments = [
        value
        for optimiser in optimisers
        for state in optimiser.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    ]
    return [*program.parameters(), *program.buffers(), *moments]


def moments_of(program: Program, optimisers: Sequence[Optimiser]) -> dict[str, Tensor]:
    """ "KEY/PARAMETER" → what the optimisers keep of each parameter."""
    states = [optimiser.state for optimiser in optimisers]
    return {
        f"{key}/{name}": torch.as_tensor(value)
        for name, parameter in program.named_parameters()
        for state in states
        for key, value in state.get(parameter, {}).items()
        if value is not None
    }


def load_moments(
    program: Program, optimisers: Sequence[tuple[Group, Optimiser]], moments: Mapping[str, Tensor]
) -> None:
    """Give each optimiser back what `moments_of` took from it.

    Raises:
        ValueError: a moment that is not of its parameter's shape, or of no parameter.
    """
    left = dict(moments)
    names = {parameter: name for name, parameter in program.named_parameters()}
    for group, optimiser in optimisers:
        for parameter in group.parameters:
            name, keys = names[parameter], MOMENTS[group.optimiser]
            state = {key: left.pop(f"{key}/{name}") for key in keys if f"{key}/{name}" in left}
            shapes = {key: () if key == "step" else parameter.shape for key in keys}
            if state and {key: tuple(value.shape) for key, value in state.items()} != shapes:
                raise ValueError(f"the optimiser's moments of {name} do not fit")
            if state:
                optimiser.state[parameter] = {key: value.to(parameter.device) for key, value in state.items()}
    if left:
        raise ValueError(f"moments of no parameter that moves ({min(left)})")
