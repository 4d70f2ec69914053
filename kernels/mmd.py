"""Maximum mean discrepancy between two samples.

Source: Gretton et al. 2012, JMLR 13; the kernels of arXiv:2110.04616 (`paper_kernel`) and of Sutter et al. 2020 (IMQ).
"""

import itertools
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from .pairwise import PairKernel, left_out


class Kernel(NamedTuple):
    """A formula of the squared distance together with its parameters. Calling it gives k at squared distances of any
    shape.
    """

    formula: PairKernel
    parameters: tuple[float | Tensor, ...] = ()

    def __call__(self, r2: Tensor) -> Tensor:
        return self.formula.at(r2, self.parameters)


def rbf(*variances: float | Tensor) -> Kernel:
    """exp(−r²/(2σ²)).

    Args:
        *variances: σ²; several give the arithmetic mean of their kernels.

    Returns:
        The kernel.
    """
    numbers = sorted(v for v in variances if not isinstance(v, Tensor))
    doubles = len(numbers) > 1 and all(b == 2 * a for a, b in itertools.pairwise(numbers))
    if doubles and len(numbers) == len(variances):
        return Kernel(_doubling(len(numbers)), (numbers[-1],))
    return Kernel(_mean("rbf", "exp(-r2/(2*{}))", len(variances)), variances)


def imq(*constants: float | Tensor) -> Kernel:
    """C/(C + r²), the inverse multi-quadric.

    Args:
        *constants: C; several give the arithmetic mean of their kernels.

    Returns:
        The kernel.
    """
    return Kernel(_mean("imq", "{0}/({0} + r2)", len(constants)), constants)


def laplacian(*scales: float | Tensor) -> Kernel:
    """exp(−r/s).

    Args:
        *scales: s; several give the arithmetic mean of their kernels.

    Returns:
        The kernel.
    """
    return Kernel(_mean("laplacian", "exp(-sqrt(r2)/{})", len(scales)), scales)


@cache
def _mean(name: str, text: str, count: int) -> PairKernel:
    """The arithmetic mean of `count` kernels of one formula, each with a parameter of its own."""
    words = [f"s{i}" for i in range(count)]
    total = " + ".join(text.format(word) for word in words)
    return PairKernel(f"{name}_{count}", f"({total})/{count}", words)


@cache
def _doubling(count: int) -> PairKernel:
    """The mean of RBF kernels whose variances double, by the widest: one exponential, squared again and again."""
    terms = " + ".join(f"u**{2**i}" for i in range(count))
    return PairKernel(f"rbf_doubling_{count}", f"u = exp(-r2/(2*s)); ({terms})/{count}", ("s",))


def paper_kernel(dimension: int) -> Kernel:
    """exp(−r²/D²), so 2σ² = D². It is far wider than the data, so that it compares little more than the means.

    Args:
        dimension: D.

    Returns:
        The kernel.
    """
    return rbf(dimension**2 / 2)


def median_mixture(
    x: Tensor,
    y: Tensor,
    factors: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
    *,
    x_weight: Tensor | None = None,
    y_weight: Tensor | None = None,
) -> Kernel:
    """The mean of RBF kernels at several multiples of the median-heuristic σ² of the pooled sample (without its
    gradient).

    Args:
        x: (n, D).
        y: (l, D), n + l ≥ 2.
        factors: the multiples.
        x_weight: (n,); rows of weight 0 do not take part. None: all do.
        y_weight: (l,); rows of weight 0 do not take part. None: all do.

    Returns:
        The kernel.
    """
    base = median_heuristic(x, y, x_weight=x_weight, y_weight=y_weight)
    if len(factors) > 1 and all(b == 2 * a for a, b in itertools.pairwise(factors)):
        return Kernel(_doubling(len(factors)), (base * factors[-1],))
    return rbf(*(base * f for f in factors))


def median_heuristic(x: Tensor, y: Tensor, *, x_weight: Tensor | None = None, y_weight: Tensor | None = None) -> Tensor:
    """σ² = ½ · median over pairs i < j of r² in the pooled sample, computed without a gradient.

    Args:
        x: (n, D).
        y: (l, D), n + l ≥ 2.
        x_weight: (n,); rows of weight 0 do not take part. None: all do.
        y_weight: (l,); rows of weight 0 do not take part. None: all do.

    Returns:
        A scalar tensor, at least the smallest positive number of the dtype; exactly that where fewer than two rows are
        left.
    """
    with torch.no_grad():
        n = len(x) + len(y)
        weights = [torch.ones_like(p[:, 0]) if w is None else w for p, w in ((x, x_weight), (y, y_weight))]
        kept = torch.cat([w > 0 for w in weights])
        pooled = left_out(torch.cat([x, y]), kept)  # all rows enter the centre
        i, j = torch.triu_indices(n, n, 1, device=x.device)
        pairs = kept[i] & kept[j]
        r2 = torch.where(pairs, squared_distances(pooled, pooled)[i, j], torch.inf).sort().values  # other pairs last
        count = pairs.sum()
        low, high = (((count - k).clamp_min(0) // 2).unsqueeze(0) for k in (1, 0))  # torch.median has the lower only
        median = 0.5 * (r2.gather(0, low) + r2.gather(0, high)).squeeze(0)
        return torch.where(count > 0, 0.5 * median, 0.0).clamp_min(torch.finfo(x.dtype).tiny)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i − y_j‖² for all pairs. The samples are centred first, so that a common offset costs no digits.

    Args:
        x: (n, D).
        y: (l, D).

    Returns:
        (n, l), never below 0.
    """
    centre = torch.cat([x, y]).mean(0).detach()
    x, y = x - centre, y - centre
    with torch.autocast(x.device.type, enabled=False):  # a product rounded to bf16 costs all the digits of a difference
        return (x.square().sum(-1, keepdim=True) + y.square().sum(-1) - 2 * x @ y.T).clamp_min(0)


def mmd2(
    x: Tensor,
    y: Tensor,
    kernel: Kernel,
    *,
    unbiased: bool = False,
    x_weight: Tensor | None = None,
    y_weight: Tensor | None = None,
) -> Tensor:
    """MMD² between the samples x and y.

    Args:
        x: (n, D).
        y: (l, D).
        kernel: kernel of squared distances, e.g. `rbf(1.0)`.
        unbiased: False: V-statistic (diagonals included, ≥ 0); True: U-statistic (without them, may be negative).
        x_weight: (n,) non-negative weights of the rows; None: ones. Rows of weight 0 do not matter as long as they are
            finite.
        y_weight: (l,) non-negative weights of the rows; None: ones.

    Returns:
        A scalar; 0 where one side has no weight left (or too little for the U-statistic).

    Raises:
        ValueError: the shapes disagree.

    Source: Gretton et al. 2012, eqs. 3 and 5.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"mmd2: expected x (n, D) and y (l, D); got {tuple(x.shape)} and {tuple(y.shape)}.")
    with torch.autocast(x.device.type, enabled=False):
        a = x.new_ones(len(x)) if x_weight is None else x_weight.detach().to(x.dtype)
        b = y.new_ones(len(y)) if y_weight is None else y_weight.detach().to(y.dtype)
        mass = [w.double().sum() for w in (a, b)]  # float64: the terms cancel, so their weights must agree
        own = [w.double().square().sum() for w in (a, b)]  # a row paired with itself
        shares = [_ratio(mass[0].new_ones(()), m * m - o if unbiased else m * m) for m, o in zip(mass, own)]
        across = _ratio(mass[0].new_full((), -2.0), mass[0] * mass[1])
        pairs, parameters = kernel
        total = pairs.contrast(x, y, parameters, (*shares, across), x_weight=x_weight, y_weight=y_weight)
        if not unbiased:
            total = total + kernel(x.new_zeros(())) * (shares[0] * own[0] + shares[1] * own[1]).to(x.dtype)
        return torch.where((mass[0] > 0) & (mass[1] > 0), total, 0.0)


def mmd2_of_some(x: Tensor, y: Tensor, kernel: Kernel, rows: Tensor) -> Tensor:
    """The V-statistic of N pairs of rows, estimated from the n of them that are at hand.

    A V-statistic of n rows is not one of N: its bias, of rows that are paired with themselves, is N/n times as large.
    Here it is as large as that of N rows: s V + (1 − s) U with s = n/N, of the statistics of the n rows. U leaves out
    x_i with x_i, y_i with y_i and x_i with y_i, which belong to one row. The mean over all choices of n of the N rows
    is exactly the V-statistic of all of them.

    Args:
        x: (N, D).
        y: (N, D); x_i and y_i may depend on each other, but not on other rows.
        kernel: kernel of squared distances, e.g. `rbf(1.0)`.
        rows: (N,) bool, those that are at hand. The others do not matter as long as they are finite.

    Returns:
        A scalar, which may be negative; the same bits as `mmd2(x, y, kernel)` where all rows are at hand, and 0 where
        only one or none of several is.

    Raises:
        ValueError: the shapes disagree.

    Source: Gretton et al. 2012, eqs. 4 (U) and 5 (V); their sum is elementary.
    """
    if x.ndim != 2 or x.shape != y.shape or rows.shape != x.shape[:1]:
        raise ValueError(
            f"mmd2_of_some: expected x and y (N, D) and rows (N,); got {tuple(x.shape)}, {tuple(y.shape)} and "
            f"{tuple(rows.shape)}."
        )
    with torch.autocast(x.device.type, enabled=False):
        weight = rows.detach().to(x.dtype)
        n = rows.detach().double().sum()
        absent = 1 - n / len(rows)
        one, whole, apart = n.new_ones(()), n * n, n * n - n
        share, across = (torch.lerp(_ratio(c * one, whole), _ratio(c * one, apart), absent) for c in (1.0, -2.0))
        of_row = (1 - absent) * _ratio(one, whole)
        pairs, parameters = kernel
        total = pairs.contrast(x, y, parameters, (share, share, across), x_weight=weight, y_weight=weight)
        total = total + kernel(x.new_zeros(())) * (of_row * n + of_row * n).to(x.dtype)
        between = torch.where(rows, kernel(torch.where(rows.unsqueeze(-1), x - y, 0.0).square().sum(-1)), 0.0).sum()
        total = total + (-2 * of_row - across).to(x.dtype) * between
        return torch.where((n > 1) | ((n > 0) & (absent == 0)), total, 0.0)


def mmd2_linear(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """An unbiased estimate of MMD² in linear time, from successive pairs of rows. An odd last row is left out.

    Args:
        x: (n, D), n ≥ 2.
        y: (n, D).
        kernel: kernel of squared distances, e.g. `rbf(1.0)`.

    Returns:
        A scalar.

    Raises:
        ValueError: the shapes disagree.

    Source: Gretton et al. 2012, lemma 14.
    """
    if x.ndim != 2 or x.shape != y.shape or len(x) < 2:
        raise ValueError(f"mmd2_linear: expected x and y (n, D), n ≥ 2; got {tuple(x.shape)} and {tuple(y.shape)}.")
    half = len(x) // 2
    (x1, x2), (y1, y2) = (t[: 2 * half].unflatten(0, (half, 2)).unbind(1) for t in (x, y))
    near = [(p - q).square().sum(-1) for p, q in ((x1, x2), (y1, y2), (x1, y2), (x2, y1))]
    xx, yy, xy, yx = (kernel(r2) for r2 in near)
    return (xx + yy - xy - yx).mean()


def _ratio(total: Tensor, mass: Tensor) -> Tensor:
    """total / mass, or 0 where there is no mass."""
    return torch.where(mass > 0, total / mass.clamp_min(torch.finfo(mass.dtype).tiny), 0.0)
