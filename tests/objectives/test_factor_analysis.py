"""Variational factor analysis: the bound rises, structure and noise are found, and no d × d matrix is formed."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmppl import DataError, FactorView, fit_factors
from mmppl.objectives.factor_analysis import Prior
from mmppl.objectives.rotation import Loaded, best_rotation


def simulated(rows=300, missing=0.0, seed=0):
    """Two factors that a and b share, and one of a alone; noise of sd ½."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, 3, generator=rng)
    weights = {"a": torch.randn(6, 3, generator=rng), "b": torch.randn(8, 3, generator=rng)}
    weights["b"][:, 2] = 0
    views = {}
    for name, w in weights.items():
        x = z @ w.T + 2.0 + 0.5 * torch.randn(rows, len(w), generator=rng)
        views[name] = FactorView(x, torch.rand(rows, generator=rng) >= missing)
    return weights, views


@pytest.mark.parametrize("options", [{}, {"scale": 0.5}, {"shared": True}], ids=str)
def test_the_bound_rises_in_every_pass(options):
    """Dropping a factor is no step up that is guaranteed, so none is dropped here."""
    _, views = simulated(60, missing=0.3)
    views = {name: FactorView(view.x, view.observed, **options) for name, view in views.items()}
    found = fit_factors(views, 3, tolerance=1e-9, most=200)
    rise = torch.tensor(found.bounds).diff()
    assert len(rise) > 5 and (rise > -1e-7 * abs(found.bounds[-1])).all()


def test_shared_and_private_factors_are_found_and_others_dropped():
    weights, views = simulated(400, missing=0.2)
    found = fit_factors(views, 8)
    assert found.converged
    strength = {name: one.weight.square().mean(0).sqrt() for name, one in found.loadings.items()}
    used = {name: (size > 0.1) for name, size in strength.items()}
    assert int((used["a"] | used["b"]).sum()) == 3
    assert int((used["a"] & ~used["b"]).sum()) == 1 and int((used["b"] & ~used["a"]).sum()) == 0
    for name, one in found.loadings.items():
        truth = weights[name] @ weights[name].T
        assert (one.weight @ one.weight.T - truth).norm() < 0.25 * truth.norm()
        torch.testing.assert_close(one.variance, torch.full_like(one.variance, 0.25), rtol=0.4, atol=0)


def test_the_same_rows_give_the_same_bits_and_fillers_change_none():
    _, views = simulated(80, missing=0.4)
    one, again = fit_factors(views, 4), fit_factors(views, 4)
    nan = {n: FactorView(torch.where(v.observed[:, None], v.x, torch.nan), v.observed) for n, v in views.items()}
    filled = fit_factors(nan, 4)
    for name, found in one.loadings.items():
        assert torch.equal(found.weight, again.loadings[name].weight)
        assert torch.equal(found.weight, filled.loadings[name].weight)
        assert torch.equal(found.variance, filled.loadings[name].variance)


def test_constant_columns_change_nothing():
    _, views = simulated(80)
    constant = torch.cat([views["a"].x, torch.full((80, 3), 7.25)], -1)
    one = fit_factors(views, 4)
    more = fit_factors(views | {"a": FactorView(constant, views["a"].observed)}, 4)
    torch.testing.assert_close(more.loadings["a"].weight[:6], one.loadings["a"].weight, rtol=1e-6, atol=1e-8)
    assert not more.loadings["a"].weight[6:].any()
    torch.testing.assert_close(more.loadings["a"].offset[6:], torch.full((3,), 7.25, dtype=torch.float64))
    assert (more.loadings["a"].variance[6:].sqrt() < 0.01).all()


def test_the_noise_of_a_copied_column_is_bounded():
    _, views = simulated(500)
    copied = torch.cat([views["a"].x, views["a"].x[:, :1]], -1)
    found = fit_factors(views | {"a": FactorView(copied, views["a"].observed)}, 6).loadings["a"]
    floor = Prior().floor * copied[:, 0].var()
    assert found.bounded[[0, 6]].all() and not found.bounded[1:6].any()
    assert (found.variance[[0, 6]] > floor / 2).all()


def test_few_rows_of_noise_are_not_explained():
    """36 rows of 60 independent features have no factor: the noise stays near all of the variance."""
    x = torch.randn(36, 60, generator=torch.Generator().manual_seed(0))
    found = fit_factors({"x": FactorView(x, torch.ones(36, dtype=torch.bool))}, 12)
    share = found.loadings["x"].weight.square().sum(-1) / x.double().var(0)
    assert share.mean() < 0.25


def test_one_row_is_refused():
    with pytest.raises(DataError, match="two rows"):
        fit_factors({"x": FactorView(torch.zeros(1, 2), torch.tensor([True]))}, 1)


class Largest(TorchDispatchMode):
    """Numbers of the largest tensor that is made inside."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple) else (out,):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.numel())
        return out


def test_wide_data_form_no_matrix_of_features_by_features():
    rng = torch.Generator().manual_seed(0)
    rows, d, size = 30, 4000, 10
    view = FactorView(torch.randn(rows, d, generator=rng), torch.ones(rows, dtype=torch.bool))
    with Largest() as largest:
        fit_factors({"x": view}, size, most=3)
    assert largest.numbers <= d * max(rows, size + 1)


def test_a_rotation_raises_the_bound_by_what_it_says():
    """The change of the bound, evaluated independently: at R and at the identity."""
    rng = torch.Generator().manual_seed(0)
    w = torch.randn(2, 9, 3, generator=rng, dtype=torch.float64)
    z = torch.randn(50, 3, generator=rng, dtype=torch.float64)
    views = [Loaded(9, one.T @ one, 1e-3, 1e-3) for one in w]
    moments = z.T @ z

    def change(r):
        back = torch.linalg.inv(r)
        value = -(back @ moments @ back.T).trace() / 2 + (18 - 50) * torch.linalg.slogdet(r).logabsdet
        for view in views:
            value -= (view.shape + 4.5) * (view.rate + (r.T @ view.gram @ r).diagonal() / 2).log().sum()
        return value

    r = best_rotation(moments, 50, views)
    eye = torch.eye(3, dtype=torch.float64)
    assert change(r) > change(eye) + 1e-3
    torch.testing.assert_close(best_rotation(moments, 50, views), r, rtol=0, atol=0)
