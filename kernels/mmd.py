"""Maximum mean discrepancy between two samples.

Source: Gretton et al. 2012, JMLR 13; the kernels of arXiv:2110.04616 (`paper_kernel`) and of Sutter et al. 2020 (IMQ).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]
"""Squared distances, any shape → kernel values of the same shape."""


def rbf(*variances: float | Tensor) -> Kernel:
    """exp(−r²/(2σ²)); several σ² give the arithmetic mean of their kernels."""
    return lambda r2: sum(torch.exp(r2 / (-2.0 * v)) for v in variances) / len(variances)  # type: ignore[return-value]


def imq(*constants: float | Tensor) -> Kernel:
    """C/(C + r²), the inverse multi-quadric; several C give the mean."""
    return lambda r2: sum(c / (c + r2) for c in constants) / len(constants)  # type: ignore[return-value]


def paper_kernel(dimension: int) -> Kernel:
    """exp(−r²/D²): 2σ² = D². Far wider than the data, so little more than the means is compared."""
    return rbf(dimension**2 / 2)


def median_mixture(
    x: Tensor,
    y: Tensor,
    factors: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
    *,
    x_weight: Tensor | None = None,
    y_weight: Tensor | None = None,
) -> Kernel:
    """Mean of RBF kernels at `factors` times the median-heuristic σ² of the pooled sample (no gradient through it)."""
    base = median_heuristic(x, y, x_weight=x_weight, y_weight=y_weight)
    return rbf(*(base * f for f in factors))


def median_heuristic(
    x: Tensor, y: Tensor, *, x_weight: Tensor | None = None, y_weight: Tensor | None = None
) -> Tensor:
    """σ² = ½ · median over pairs i < j of r² in the pooled sample; computed without gradient.

    Args:
        x: (n, D); y: (l, D), n + l ≥ 2.
        x_weight, y_weight: (n,), (l,); rows of weight 0 do not take part. None: all do.
    Returns: scalar tensor, at least the smallest positive number of the dtype; that where fewer than two rows are left.
    """
    with torch.no_grad():
        pooled = torch.cat([x, y])
        n = len(pooled)
        weights = [torch.ones_like(p[:, 0]) if w is None else w for p, w in ((x, x_weight), (y, y_weight))]
        kept = torch.cat([w > 0 for w in weights])
        i, j = torch.triu_indices(n, n, 1, device=x.device)
        pairs = kept[i] & kept[j]
        r2 = torch.where(pairs, squared_distances(pooled, pooled)[i, j], torch.inf).sort().values  # the others last
        count = pairs.sum()
        low, high = (((count - k).clamp_min(0) // 2).unsqueeze(0) for k in (1, 0))  # torch.median takes the lower only
        median = 0.5 * (r2.gather(0, low) + r2.gather(0, high)).squeeze(0)
        return torch.where(count > 0, 0.5 * median, 0.0).clamp_min(torch.finfo(x.dtype).tiny)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, D), (l, D) → (n, l) of ‖x_i − y_j‖², centred first so that a common offset costs no digits; never below 0."""
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
        x: (n, D); y: (l, D).
        kernel: of squared distances, e.g. `rbf(1.0)`.
        unbiased: False: V-statistic (diagonals included, ≥ 0); True: U-statistic (without them, may be negative).
        x_weight, y_weight: (n,), (l,) non-negative weights of the rows; None: ones. Rows of weight 0 do not matter
            as long as they are finite. No weight left on one side (or too little for U): 0.
    Returns: scalar. Source: Gretton et al. 2012, eqs. 3 and 5.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"mmd2: expected x (n, D) and y (l, D); got {tuple(x.shape)} and {tuple(y.shape)}.")
    a = torch.ones_like(x[:, 0]) if x_weight is None else x_weight.to(x.dtype)
    b = torch.ones_like(y[:, 0]) if y_weight is None else y_weight.to(y.dtype)
    cross = _weighted_mean(kernel(squared_distances(x, y)), a, b, False)
    within = _weighted_mean(kernel(squared_distances(x, x)), a, a, unbiased)
    within = within + _weighted_mean(kernel(squared_distances(y, y)), b, b, unbiased)
    both = (a.sum() > 0) & (b.sum() > 0)
    return torch.where(both, within - 2 * cross, 0.0)


def _weighted_mean(gram: Tensor, a: Tensor, b: Tensor, without_diagonal: bool) -> Tensor:
    """Σ a_i b_j K_ij / Σ a_i b_j, over i ≠ j if so asked; 0 where the weights sum to 0."""
    with torch.autocast(gram.device.type, enabled=False):
        total, mass = a @ gram @ b, a.sum() * b.sum()
    if without_diagonal:
        total, mass = total - (a * b * gram.diagonal()).sum(), mass - (a * b).sum()
    return torch.where(mass > 0, total / mass.clamp_min(torch.finfo(gram.dtype).tiny), 0.0)
