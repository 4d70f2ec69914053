"""GRU and LSTM over steps of which some do not exist, as one operator: a recorded step of training holds one call, and
not ten for every step of the sequence. It is PyTorch's operations in a loop, with the gradient written out.

Source: Cho et al. 2014, arXiv:1406.1078 (GRU, in PyTorch's form: the reset gate multiplies what the state says);
Hochreiter & Schmidhuber 1997 (LSTM, with a forget gate). A step that does not exist leaves the state as it is.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ...kernels.codegen.dispatch import operator

Cell = Literal["gru", "lstm"]
GATES = {"gru": 3, "lstm": 4}


def recurrence(
    cell: Cell, inputs: Tensor, there: Tensor, weight: Tensor, bias: Tensor, *, reverse: bool = False
) -> Tensor:
    """Run a cell over the steps of N sequences, from a state of zeros.

    Args:
        cell: "gru" or "lstm".
        inputs: (N, T, G·H), what each step adds to the gates: reset, update, new of a GRU (G = 3); input, forget, cell,
            output of an LSTM (G = 4).
        there: (N, T) bool, the steps that exist. What stands elsewhere does not matter.
        weight: (G·H, H), from the state to the gates.
        bias: (G·H,), added to that.
        reverse: whether it runs from the last step to the first.

    Returns:
        (N, T, H), the state after each step.

    Example:
        >>> there = torch.tensor([[True, False]])
        >>> steps = recurrence("gru", torch.ones(1, 2, 3), there, torch.ones(3, 1), torch.ones(3))
        >>> bool(steps[0, 0] == steps[0, 1])  # the second step does not exist
        True
    """
    states: Tensor = _Recurrence.apply(cell, inputs, there, weight, bias, reverse)
    return states


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, cell: Cell, inputs: Tensor, there: Tensor, weight: Tensor, bias: Tensor, reverse: bool
    ) -> Tensor:
        states, *kept = _forward(cell, inputs, there, weight, bias, reverse)
        ctx.cell, ctx.reverse = cell, reverse
        ctx.save_for_backward(there, weight, states, *kept)
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        there, weight, states, *kept = ctx.saved_tensors
        of_inputs, of_weight, of_bias = _backward(ctx.cell, g, there, weight, states, kept, ctx.reverse)
        return None, of_inputs, None, of_weight, of_bias, None


def _order(steps: int, reverse: bool) -> list[int]:
    return list(range(steps))[::-1] if reverse else list(range(steps))


@operator("recurrence(str cell, Tensor inputs, Tensor there, Tensor weight, Tensor bias, bool reverse) -> Tensor[]")
def _forward(cell: str, inputs: Tensor, there: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> list[Tensor]:
    """The states, and what the gradient needs of every step: the gates, what the state said to them, and the cells."""
    with torch.autocast(inputs.device.type, enabled=False):
        n, steps, width = *inputs.shape[:2], weight.shape[1]
        h = c = inputs.new_zeros(n, width)
        states, cells = inputs.new_empty(n, steps, width), inputs.new_empty(n, steps, width if cell == "lstm" else 0)
        gates = inputs.new_empty(n, steps, 4 * width)
        weight_t = weight.t()
        for t in _order(steps, reverse):
            own, kept = torch.addmm(bias, h, weight_t), there[:, t].unsqueeze(-1)
            x = torch.where(kept, inputs[:, t], 0.0)
            if cell == "gru":
                reset, update = torch.sigmoid(x[:, : 2 * width] + own[:, : 2 * width]).chunk(2, -1)
                new = torch.tanh(x[:, 2 * width :] + reset * own[:, 2 * width :])
                after = torch.lerp(new, h, update)
                gates[:, t] = torch.cat([reset, update, new, own[:, 2 * width :]], -1)
            else:
                a = x + own
                taken, left, out = (torch.sigmoid(a[:, i * width : (i + 1) * width]) for i in (0, 1, 3))
                new = torch.tanh(a[:, 2 * width : 3 * width])
                c = torch.where(kept, left * c + taken * new, c)
                cells[:, t] = c
                after = out * torch.tanh(c)
                gates[:, t] = torch.cat([taken, left, new, out], -1)
            h = torch.where(kept, after, h)
            states[:, t] = h
    return [states, gates, cells]


@operator(
    "recurrence_backward(str cell, Tensor g, Tensor there, Tensor weight, Tensor states, Tensor[] kept, bool reverse)"
    " -> Tensor[]"
)
def _backward(
    cell: str, g: Tensor, there: Tensor, weight: Tensor, states: Tensor, kept: list[Tensor], reverse: bool
) -> list[Tensor]:
    """The slopes of the inputs, the weight and the bias."""
    gates, cells = kept
    with torch.autocast(g.device.type, enabled=False):
        n, steps, width = states.shape
        order = _order(steps, reverse)
        zero = states.new_zeros(n, width)
        of_inputs = states.new_empty(n, steps, weight.shape[0])
        of_own = of_inputs if cell == "lstm" else torch.empty_like(of_inputs)
        before = torch.empty_like(states)
        slope, slope_c = zero, zero
        for place in range(steps - 1, -1, -1):
            t = order[place]
            exists = there[:, t].unsqueeze(-1)
            last = states[:, order[place - 1]] if place else zero
            before[:, t] = last
            slope = slope + g[:, t]
            at = torch.where(exists, slope, 0.0)
            one, two, new, four = gates[:, t].chunk(4, -1)
            if cell == "gru":
                reset, update, own = one, two, four
                of_new = at * (1 - update) * (1 - new * new)
                of_update = at * (last - new) * update * (1 - update)
                of_reset = of_new * own * reset * (1 - reset)
                of_inputs[:, t] = torch.cat([of_reset, of_update, of_new], -1)
                of_own[:, t] = torch.cat([of_reset, of_update, of_new * reset], -1)
                back = at * update
            else:
                taken, left, out = one, two, four
                last_c = cells[:, order[place - 1]] if place else zero
                bent = torch.tanh(cells[:, t])
                of_c = torch.where(exists, slope_c, 0.0) + at * out * (1 - bent * bent)
                slopes = [of_c * new * taken * (1 - taken), of_c * last_c * left * (1 - left)]
                slopes += [of_c * taken * (1 - new * new), at * bent * out * (1 - out)]
                of_inputs[:, t] = torch.cat(slopes, -1)
                slope_c = torch.where(exists, of_c * left, slope_c)
                back = torch.zeros_like(at)
            slope = torch.where(exists, torch.addmm(back, of_own[:, t], weight), slope)
        flat = of_own.flatten(0, 1)
    return [of_inputs, flat.t() @ before.flatten(0, 1), flat.sum(0)]
