"""Variational factor analysis of views with gaps: it is that of whole views where nothing is missing, its updates are
those of single rows and features, and the bound rises."""

from dataclasses import replace

import pytest
import torch

from mmppl import FactorView, fit_factors
from mmppl.objectives.factors.gapped import GappedSide
from mmppl.objectives.factors.view import Prior


def simulated(rows=60, missing=0.3, seed=0):
    """Three factors of two views, with single cells and whole rows missing."""
    rng = torch.Generator().manual_seed(seed)
    z, views = torch.randn(rows, 3, generator=rng), {}
    for name, d in (("a", 6), ("b", 8)):
        x = z @ torch.randn(d, 3, generator=rng).T + 2.0 + 0.5 * torch.randn(rows, d, generator=rng)
        there = torch.rand(rows, d, generator=rng) >= missing
        views[name] = FactorView(x, (torch.rand(rows, generator=rng) >= 0.2) & there.any(1), elements=there)
    return views


@pytest.mark.parametrize("options", [{}, {"scale": 0.5}, {"shared": True}], ids=str)
def test_a_view_without_gaps_is_a_whole_view(options):
    whole = {name: replace(view, elements=None, **options) for name, view in simulated().items()}
    every = torch.ones_like(whole["a"].x, dtype=torch.bool)
    one, other = (
        fit_factors(whole, 3, most=2),
        fit_factors(whole | {"a": replace(whole["a"], elements=every)}, 3, most=2),
    )
    torch.testing.assert_close(torch.tensor(one.bounds), torch.tensor(other.bounds), rtol=1e-9, atol=1e-7)
    for name, found in one.loadings.items():
        for part in ("weight", "offset", "variance"):
            torch.testing.assert_close(getattr(found, part), getattr(other.loadings[name], part), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"scale": 0.5}, {"shared": True}], ids=str)
def test_the_bound_rises_in_every_pass(options):
    found = fit_factors({n: replace(v, **options) for n, v in simulated().items()}, 3, tolerance=1e-9, most=15)
    rise = torch.tensor(found.bounds, dtype=torch.float64).diff()
    assert len(rise) > 5 and (rise > -1e-9 * abs(found.bounds[-1])).all()


def test_weights_and_precisions_against_loops():
    """q(w_j) by the rows that have j, and the precision of z_i by the features that i has, one after the other."""
    view = simulated(rows=12)["a"]
    side = GappedSide(view, 2, Prior())
    rng = torch.Generator().manual_seed(1)
    mean = torch.cat([torch.randn(12, 2, generator=rng), torch.ones(12, 1)], -1).double()
    root = torch.randn(12, 2, 2, generator=rng).double()
    covariance = root @ root.mT
    side.tau = torch.rand(6, generator=rng).double() + 0.5
    side.alpha = torch.tensor([0.5, 2.0, 0.01]).double()
    tau = side.tau.clone()
    side.update(mean, covariance, torch.ones(12).double(), torch.arange(12))
    there, x = (view.observed[:, None] & view.elements), view.x.double()
    precision = torch.eye(3).double().expand(12, 3, 3) * 0
    precision = precision.clone()
    for j in range(6):
        rows = there[:, j].nonzero().flatten().tolist()
        centred = x[rows, j] - x[rows, j].mean()
        scaled = centred / centred.square().mean().sqrt()
        second = [torch.outer(mean[i], mean[i]) + torch.nn.functional.pad(covariance[i], (0, 1, 0, 1)) for i in rows]
        of_weights = torch.linalg.inv(side.alpha.diag() + tau[j] * torch.stack(second).sum(0))
        weights = tau[j] * of_weights @ sum(s * mean[i] for s, i in zip(scaled, rows))
        torch.testing.assert_close(side.weights[j], weights, rtol=1e-9, atol=1e-11)
        outer = torch.outer(weights, weights) + of_weights
        error = sum(s**2 - 2 * s * weights @ mean[i] + (outer * m).sum() for s, i, m in zip(scaled, rows, second))
        torch.testing.assert_close(side.residual[j], error + len(rows) * Prior().floor, rtol=1e-9, atol=1e-9)
        for i in rows:
            precision[i] += side.tau[j] * outer
    torch.testing.assert_close(side.precisions(there), precision, rtol=1e-9, atol=1e-9)


def test_what_stands_in_gaps_changes_no_bit():
    views = simulated()
    wild = {
        name: replace(v, x=torch.where(v.observed[:, None] & v.elements, v.x, torch.tensor([torch.nan, 1e30])[i]))
        for i, (name, v) in enumerate(views.items())
    }
    one, other = fit_factors(views, 3, most=5), fit_factors(wild, 3, most=5)
    assert one.bounds == other.bounds
    assert all(torch.equal(one.loadings[n].weight, other.loadings[n].weight) for n in views)
