"""Sums of a kernel over all pairs of two samples, with gradients, that never hold N×N numbers.

A kernel is a scalar formula of the squared distance r2 and of parameters. The C code of the CPU path (`pairwise_c`)
and the Triton code of the GPU path (`pairwise_triton`) are generated from it. Without a compiler, PyTorch's operations
run on tiles.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .codegen.dispatch import code, fast, operator, require, same_kind, scalar
from .codegen.generate import Formula

TILE = (256, 1024)  # rows of x and y at a time on the PyTorch path
_formulas: dict[str, Formula] = {}


class PairKernel:
    """k(r2; parameters), with everything that follows from its formula.

    Args:
        name: a Python name that no other formula has.
        text: the formula of r2 and the parameters; see `kernels.codegen.formula`.
        parameters: symbols, each a positive number or 0-d tensor in a call.
    """

    def __init__(self, name: str, text: str, parameters: Sequence[str] = ()) -> None:
        arguments = ("r2", *parameters)
        self.formula = Formula(name, text, arguments, arguments)
        self.name = name
        _formulas[self.formula.key] = self.formula

    def sum(
        self,
        x: Tensor,
        y: Tensor | None,
        parameters: Sequence[float | Tensor] = (),
        *,
        x_weight: Tensor | None = None,
        y_weight: Tensor | None = None,
    ) -> Tensor:
        """Σ_ij w_i v_j k(‖x_i − y_j‖²), differentiable in x, y and the parameters, but not in the weights.

        Args:
            x: (N, D).
            y: (L, D), or None: x itself, and the sum over i ≠ j.
            parameters: positive numbers or 0-d tensors, in the order of their symbols.
            x_weight: (N,) weights w, not negative; None: ones. A row of weight 0 may hold anything, NaN included.
            y_weight: (L,) weights v, likewise.

        Returns:
            A scalar.

        Raises:
            ValueError: shapes, dtypes or devices disagree, or a weight or parameter is negative.
        """
        if y is None:
            return self._summed(x, x, parameters, (x_weight, x_weight), (1.0, None, None))
        return self._summed(x, y, parameters, (x_weight, y_weight), (None, None, 1.0))

    def contrast(
        self,
        x: Tensor,
        y: Tensor,
        parameters: Sequence[float | Tensor],
        coefficients: Sequence[Tensor | float],
        *,
        x_weight: Tensor | None = None,
        y_weight: Tensor | None = None,
    ) -> Tensor:
        """a Σ_{i≠j} k(x_i, x_j) + b Σ_{i≠j} k(y_i, y_j) + c Σ_ij k(x_i, y_j), weighted.

        The three sums and their gradients are added in float64, so that what cancels between them costs no digits.

        Args:
            x: (N, D).
            y: (L, D).
            parameters: positive numbers or 0-d tensors, in the order of their symbols.
            coefficients: a, b and c, numbers or 0-d tensors, which get no gradient.
            x_weight: (N,) weights, as in `sum`.
            y_weight: (L,) weights, as in `sum`.

        Returns:
            A scalar.

        Raises:
            ValueError: shapes, dtypes or devices disagree, or a weight or parameter is negative.
        """
        return self._summed(x, y, parameters, (x_weight, y_weight), coefficients)

    def _summed(
        self,
        x: Tensor,
        y: Tensor,
        parameters: Sequence[float | Tensor],
        weights: tuple[Tensor | None, Tensor | None],
        coefficients: Sequence[Tensor | float | None],
    ) -> Tensor:
        """The weighted sums (x with x, y with y, x with y) whose coefficient is not None."""
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
            raise ValueError(
                f"{self.name}: expected samples (N, D) and (L, D); got {tuple(x.shape)} and {tuple(y.shape)}."
            )
        if len(parameters) != len(self.formula.arguments) - 1:
            raise ValueError(f"{self.name}: expected the parameters {', '.join(self.formula.arguments[1:])}.")
        same_kind(self.name, x, y)
        at = [scalar(p, x.dtype, x.device) for p in parameters]
        for symbol, p in zip(self.formula.arguments[1:], at):
            require(p > 0, f"{self.name}: {symbol} must be positive.")
        a, b = (self._weight(sample, weight) for sample, weight in zip((x, y), weights))
        x, y = (
            sample if given is None else left_out(sample, weight)
            for sample, weight, given in zip((x, y), (a, b), weights)
        )
        stacked = torch.stack(at) if at else x.new_empty(0)
        parts = tuple(c is not None for c in coefficients)
        numbers = [0.0 if c is None else c for c in coefficients]
        shares = torch.stack([scalar(c, torch.float64, x.device) for c in numbers])
        return _PairSums.apply(self.formula.key, x, y, a, b, stacked, shares.detach(), parts)

    def _weight(self, x: Tensor, weight: Tensor | None) -> Tensor:
        if weight is None:
            return x.new_ones(len(x))
        if weight.shape != x.shape[:1]:
            raise ValueError(f"{self.name}: weights must be ({len(x)},); got {tuple(weight.shape)}.")
        require(weight >= 0, f"{self.name}: weights must not be negative.")
        return weight.detach().to(x.dtype)

    def at(self, r2: Tensor, parameters: Sequence[float | Tensor] = ()) -> Tensor:
        """Compute k at squared distances, elementwise, in PyTorch's differentiable operations.

        Args:
            r2: squared distances, of any shape.
            parameters: positive numbers or 0-d tensors, in the order of their symbols.

        Returns:
            The shape of `r2`.
        """
        return self.formula.value(r2, *(scalar(p, r2.dtype, r2.device) for p in parameters))


class _PairSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        key: str,
        x: Tensor,
        y: Tensor,
        a: Tensor,
        b: Tensor,
        parameters: Tensor,
        shares: Tensor,
        parts: tuple[bool, bool, bool],
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        value = torch.zeros((), dtype=torch.float64, device=x.device)
        totals: list[Tensor | None] = [None, None, None]  # of x, y and the parameters
        for part, (one, other, w, v) in enumerate([(x, x, a, a), (y, y, b, b), (x, y, a, b)]):
            if not parts[part]:
                continue
            within = part < 2
            found, *gradients = _pair_sum(key, one, other, w, v, parameters, within, wanted)
            value = value + shares[part] * found
            for to, slope in ((part, gradients[0]), (2, gradients[2])) if within else enumerate(gradients):
                share = shares[part] * slope
                totals[to] = share if totals[to] is None else totals[to] + share
        ctx.save_for_backward(*(None if t is None or not wanted else t.to(x.dtype) for t in totals))
        return value.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        asked = [ctx.needs_input_grad[i] for i in (1, 2, 5)]
        x, y, at = (g * t if want and t is not None else None for want, t in zip(asked, ctx.saved_tensors))
        return None, x, y, None, None, at, None, None


def left_out(sample: Tensor, weight: Tensor) -> Tensor:
    """Put the mean of the other rows in place of rows of weight 0.

    Whatever they held, even NaN, is gone; and unlike 0 the mean leaves the centre of the sample where it was, so that
    distances that are computed about it keep their digits under a common offset.

    Args:
        sample: (N, D).
        weight: (N,), not negative.

    Returns:
        (N, D), without a gradient through the mean; zeros where no row is left.
    """
    kept = (weight > 0).unsqueeze(-1)
    with torch.no_grad():
        mean = torch.where(kept, sample, 0.0).sum(0) / kept.sum().clamp_min(1)
    return torch.where(kept, sample, mean)


@operator(
    "pair_sum(str kernel, Tensor x, Tensor y, Tensor a, Tensor b, Tensor parameters, bool within, bool slopes)"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
def _pair_sum(
    kernel: str, x: Tensor, y: Tensor, a: Tensor, b: Tensor, parameters: Tensor, within: bool, gradients: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if not len(x) or not len(y):
        gx, gy, gp = (torch.zeros_like(t, dtype=torch.float64) for t in (x, y, parameters))
        return gp.new_zeros(()), gx, gy[: 0 if within else None], gp
    return _path(x)(_formulas[kernel], x, y, a, b, parameters, within, gradients)


def _path(x: Tensor) -> Any:
    return code("pairwise", x).pair_sum if fast(x) else tiled


def tiled(
    formula: Formula, x: Tensor, y: Tensor, a: Tensor, b: Tensor, parameters: Tensor, within: bool, gradients: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The meaning of a pair sum, in tiles of PyTorch's operations. Distances come from one product of the centred
    samples.

    Args:
        formula: the formula of r2 and the parameters.
        x: (N, D).
        y: (L, D).
        a: (N,) weights of x.
        b: (L,) weights of y.
        parameters: (P,).
        within: whether y is x and the sum is over i ≠ j.
        gradients: whether the gradients for x and y are computed.

    Returns:
        The sum, and its gradients for x, y and the parameters, in float64.
    """
    centre = torch.cat([x, y]).mean(0)
    x, y = x - centre, y - centre
    gx, gy = torch.zeros_like(x), torch.zeros_like(y)
    value, gp = x.new_zeros(()), torch.zeros_like(parameters)
    with torch.autocast(x.device.type, enabled=False):
        for i in range(0, len(x), TILE[0]):
            for j in range(0, len(y), TILE[1]):
                xi, yj = x[i : i + TILE[0]], y[j : j + TILE[1]]
                r2 = (xi.square().sum(-1, keepdim=True) + yj.square().sum(-1) - 2 * xi @ yj.T).clamp_min(0)
                weight = a[i : i + TILE[0], None] * b[j : j + TILE[1]]
                if within:
                    rows = torch.arange(i, i + len(xi), device=x.device)
                    apart = rows[:, None] != torch.arange(j, j + len(yj), device=x.device)
                    weight = weight * apart
                r2 = torch.where(weight != 0, r2, 1.0)  # where k is infinite, a weight of 0 would make a NaN
                k, slope, *by_parameter = formula.value_and_grad(r2, *parameters.unbind())
                value = value + (weight * k).sum()
                gp = gp + torch.stack([(weight * s).sum() for s in by_parameter]) if by_parameter else gp
                if gradients:
                    c = torch.where(r2 > 0, 2 * weight * slope, 0.0 * r2)
                    gx[i : i + TILE[0]] += c.sum(1, keepdim=True) * xi - c @ yj
                    gy[j : j + TILE[1]] += c.sum(0).unsqueeze(-1) * yj - c.T @ xi
    value, gx, gy, gp = (t.double() for t in (value, gx, gy, gp))
    return (value, gx + gy, gy[:0], gp) if within else (value, gx, gy, gp)
