"""Adam and AdamW by PyTorch's fused kernels, with a step that costs three calls.

It has the bits of `torch.optim.Adam(fused=True)`, whose bookkeeping takes longer than the step of a small program, and
which imports `torch._dynamo` (a second of processor time) when it is made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class FusedAdam:
    """Adam or AdamW over float32 and float64 parameters.

    Args:
        parameters: what it moves.
        lr: learning rate; a tensor where a CUDA graph shall read it from the GPU's memory.
        betas: decay of the two moments.
        eps: added to the root of the second.
        weight_decay: added to the gradients or, with `decoupled`, taken from the parameters.
        decoupled: AdamW.
        decayed: those of the parameters from which `decay` is taken instead, as AdamW does.
        decay: times the learning rate, the share that each step takes from them.
        speeds: parameter → factor of its learning rate.

    Attributes:
        param_groups: one, whose "lr" may be changed.
        state: parameter → step, exp_avg, exp_avg_sq, from its first gradient on.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> optimiser = FusedAdam([weight], lr=0.1)
        >>> weight.grad = torch.ones(2)
        >>> optimiser.step()
        >>> weight.detach()
        tensor([0.9000, 0.9000])
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        decayed: Collection[nn.Parameter] = (),
        decay: float = 0.0,
        speeds: Mapping[nn.Parameter, float] = {},
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": lr}]
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}
        self.options = dict(beta1=betas[0], beta2=betas[1], eps=eps)
        plain: tuple[Any, float] = (torch._fused_adamw_ if decoupled else torch._fused_adam_, weight_decay)
        apart = set(decayed)
        parts: dict[Any, list[nn.Parameter]] = {}
        for parameter in self.param_groups[0]["params"]:
            kind = (torch._fused_adamw_, decay) if parameter in apart else plain
            parts.setdefault((parameter.dtype, *kind, speeds.get(parameter, 1.0)), []).append(parameter)
        self.parts = [(*how, part) for (_, *how), part in parts.items()]

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        lr = self.param_groups[0]["lr"]
        for kernel, weight_decay, speed, part in self.parts:
            moving, gradients = part, [p.grad for p in part]
            if any(gradient is None for gradient in gradients):
                moving = [p for p in part if p.grad is not None]
                gradients = [p.grad for p in moving]
            if moving:
                first, second, steps = zip(*map(self._moments, moving))
                torch._foreach_add_(steps, 1)
                kernel(
                    moving,
                    gradients,
                    first,
                    second,
                    [],
                    steps,
                    lr=lr if speed == 1 else lr * speed,
                    weight_decay=weight_decay,
                    **self.options,
                    amsgrad=False,
                    maximize=False,
                )

    def _moments(self, parameter: nn.Parameter) -> tuple[Tensor, Tensor, Tensor]:
        state = self.state.get(parameter)
        if state is None:
            state = self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return state["exp_avg"], state["exp_avg_sq"], state["step"]
