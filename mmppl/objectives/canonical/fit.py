"""Canonical projections of views from all rows, in closed form; of views with more columns than rows, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import DataError
from .directions import canonical_directions
from .moments import ViewMoments

Parts = Callable[[], Iterable[tuple[Sequence[Tensor], Tensor]]]
MOST = 10_000  # columns of all views that have more rows than columns: the covariance is decomposed
LEAST = 1e-12  # of the largest singular value: what varies less is rounding


@dataclass(frozen=True)
class CanonicalFit:
    """What `fit_projections` finds; z_m = weight x_m + bias.

    Args:
        weights: (k, d_m) for each view.
        biases: (k,) for each view.
        correlations: (k,) of the rows, falling; of more than two views the mean over their pairs.
        count: (M, M) rows that have both of two views.

    Example:
        >>> x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
        >>> found = fit_projections(lambda: [([x, 3 * x], torch.ones(50, 2, dtype=torch.bool))], 2, 0.0)
        >>> found.correlations, torch.allclose(found.weights[0], 3 * found.weights[1])
        (tensor([1.0000, 1.0000], dtype=torch.float64), True)
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    correlations: Tensor
    count: Tensor


def fit_projections(parts: Parts, size: int, reg: float) -> CanonicalFit:
    """Find the canonical projections of all rows, in float64.

    Args:
        parts: gives the rows in parts, each time it is called: M views (B, d_m), and which of them are observed, (B, M)
            bool.
        size: k, the number of components; those beyond what the views have in common are 0.
        reg: r of each view's ridge, r times the mean variance of its columns.

    Returns:
        The projections, whose variates have mean 0 and, with the ridge, variance 1 in each of two views.

    Raises:
        DataError: no two rows have two views, or there are too many columns.

    Example:
        >>> x, y = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0))
        >>> found = fit_projections(lambda: [([x, x + y], torch.ones(50, 2, dtype=torch.bool))], 2, 0.0)
        >>> u, v = (part.double() @ w.T + b for part, w, b in zip((x, x + y), found.weights, found.biases))
        >>> torch.allclose(((u * v).sum(0) / 49), found.correlations)
        True
    """
    sizes = [view.shape[-1] for view in next(iter(parts()))[0]]
    rows = torch.stack([observed.sum(0) for _, observed in parts()]).sum(0).tolist()
    wide = [own > number for own, number in zip(sizes, rows)]
    if (columns := sum(own for own, is_wide in zip(sizes, wide) if not is_wide)) > MOST:
        raise DataError(
            f"{columns:,} columns, whose covariances would be decomposed; take at most {MOST:,}, such as leading "
            "principal components, or networks (layers=1)."
        )
    bases = [row_space(parts, i) if is_wide else None for i, is_wide in enumerate(wide)]
    moments: ViewMoments | None = None
    for views, observed in parts():
        now = ViewMoments.of([x if b is None else x.double() @ b for x, b in zip(views, bases)], observed)
        moments = now if moments is None else moments.joined(now)
    assert moments is not None
    if not bool((moments.count.triu(1) > 1).any()):
        raise DataError("no two training rows have two views, so that nothing is correlated; give rows that have both.")
    ridges = [reg * reduced / own for reduced, own in zip(moments.sizes, sizes)]  # of a mean over all columns
    found = canonical_directions(moments, size, ridges)
    weights = found.projections()
    biases = tuple(-weight @ mean for weight, mean in zip(weights, moments.own_mean()))
    whole = tuple(weight if basis is None else weight @ basis.T for weight, basis in zip(weights, bases))
    return CanonicalFit(whole, biases, found.correlations, moments.count)


def row_space(parts: Parts, number: int) -> Tensor:
    """Find an orthonormal basis of the rows of one view about their mean, in which its canonical directions lie.

    Args:
        parts: as of `fit_projections`.
        number: which view.

    Returns:
        (d, r) of float64, r below the number of rows that have the view.
    """
    rows = torch.cat([views[number][observed[:, number]] for views, observed in parts()]).double()
    _, values, vectors = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    keep = int((values > LEAST * values[0]).sum()) if len(values) else 0
    return vectors[: max(keep, 1)].T
