"""Canonical correlations against singular values, scikit-learn, finite differences and loops, in float64."""

import numpy as np
import pytest
import torch

from mmppl import (
    DataError,
    UsageError,
    ViewMoments,
    canonical_correlation,
    canonical_directions,
    code_correlation,
    fit_lift,
    fit_projections,
)

EVERY = torch.ones(80, 2, dtype=torch.bool)


def views(*sizes, rows=80, seed=0, noise=1.0):
    """Views that have three causes in common."""
    rng = torch.Generator().manual_seed(seed)
    cause = torch.randn(rows, 3, generator=rng, dtype=torch.float64)
    draw = [torch.randn(3 + rows, d, generator=rng, dtype=torch.float64) for d in sizes]
    return [cause @ one[:3] + noise * one[3:] + 5 for one in draw]


def whitened(x, y, reg):
    """T = S11^(−1/2) S12 S22^(−1/2) by symmetric roots, as the specification has it."""
    x, y = x - x.mean(0), y - y.mean(0)
    n = len(x) - 1

    def root(s):
        s = s + reg * s.diagonal().mean() * torch.eye(len(s), dtype=s.dtype)
        values, vectors = torch.linalg.eigh(s)
        return vectors @ torch.diag(values.rsqrt()) @ vectors.T

    return root(x.T @ x / n) @ (x.T @ y / n) @ root(y.T @ y / n)


def total(xs, size, reg, observed=None):
    moments = ViewMoments.of(xs, torch.ones(len(xs[0]), len(xs)).bool() if observed is None else observed)
    found = canonical_directions(moments, size, reg)
    return canonical_correlation(moments, found, reg), found


@pytest.mark.parametrize("reg", [0.0, 1e-3, 0.3])
@pytest.mark.parametrize("size", [1, 3, 4, 6])
def test_value_and_gradient_are_those_of_the_singular_values(size, reg):
    x, y = (v.requires_grad_() for v in views(4, 5))
    ours, found = total([x, y], size, reg)
    values = torch.linalg.svdvals(whitened(x, y, reg))[:size]
    torch.testing.assert_close(ours, values.sum(), rtol=0, atol=1e-10)
    torch.testing.assert_close(found.correlations[: len(values)], values, rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(value, [x, y]) for value in (ours, values.sum())]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("sizes", [(3, 2), (3, 2, 4)], ids=str)
def test_the_gradient_is_that_of_finite_differences_with_missing_views(sizes):
    xs = [v.requires_grad_() for v in views(*sizes, rows=20)]
    observed = torch.rand(20, len(sizes), generator=torch.Generator().manual_seed(1)) < 0.8
    assert torch.autograd.gradcheck(lambda *v: total(v, 2, 1e-2, observed)[0], xs, atol=1e-7, fast_mode=True)


def test_equal_singular_values_have_a_finite_gradient():
    """Of T itself and of a basis of its rows: views that are one another's rotation have ρ = 1 in all components."""
    x = views(4)[0].requires_grad_()
    turned = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    for size in (2, 4):  # the last that counts equals the first that does not
        ours, found = total([x, x @ turned], size, 0.0)
        torch.testing.assert_close(found.correlations, torch.ones(size, dtype=torch.float64))
        (gradient,) = torch.autograd.grad(ours, x)
        assert gradient.isfinite().all() and gradient.abs().max() < 1e-8  # it is at its maximum


def test_linear_cca_is_that_of_scikit_learn_and_of_singular_values():
    from sklearn.cross_decomposition import CCA

    x, y = views(5, 4, noise=0.7)
    found = fit_projections(lambda: [([x[:30], y[:30]], EVERY[:30]), ([x[30:], y[30:]], EVERY[30:])], 3, 0.0)
    u, v = (part @ w.T + b for part, w, b in zip((x, y), found.weights, found.biases))
    np.testing.assert_allclose(found.correlations, torch.linalg.svdvals(whitened(x, y, 0.0))[:3], rtol=0, atol=1e-8)
    for variates in (u, v):
        torch.testing.assert_close(torch.cov(variates.T), torch.eye(3).double(), rtol=0, atol=1e-8)
    cross = u.T @ v / (len(u) - 1)
    torch.testing.assert_close(cross, torch.diag(found.correlations), rtol=0, atol=1e-8)
    theirs = CCA(2, tol=1e-18, max_iter=2_000).fit(x, y).transform(x, y)
    for own, other in zip((u, v), theirs):
        paired = [abs(np.corrcoef(own[:, j], other[:, j])[0, 1]) for j in range(2)]
        np.testing.assert_allclose(paired, 1, rtol=0, atol=1e-8)


def test_more_columns_than_rows_are_ridge_cca_and_constant_columns_do_not_matter():
    x, y = views(120, 4, rows=40)
    x[:, 7] = 3.0
    rows = EVERY[:40]
    ours = fit_projections(lambda: [([x, y], rows)], 4, 1e-2)
    whole = canonical_directions(ViewMoments.of([x, y], rows), 4, 1e-2)
    torch.testing.assert_close(ours.correlations, whole.correlations, rtol=0, atol=1e-8)
    for own, other in zip(ours.weights, whole.projections()):
        torch.testing.assert_close(own, other, rtol=1e-6, atol=1e-8)
    assert ours.weights[0][:, 7].abs().max() < 1e-12
    assert (fit_projections(lambda: [([x, y], rows)], 2, 0.0).correlations > 1 - 1e-8).all(), "no ridge, no meaning"


def test_maxvar_of_two_views_is_cca_and_of_three_the_mean_correlation_of_pairs():
    x, y, z = views(4, 3, 5, noise=0.5)
    _, two = total([x, y], 3, 1e-3)
    torch.testing.assert_close(two.correlations, torch.linalg.svdvals(whitened(x, y, 1e-3)), rtol=0, atol=1e-10)
    every = torch.ones(80, 3, dtype=torch.bool)
    found = fit_projections(lambda: [([x, y, z], every)], 3, 0.0)
    bases = [torch.linalg.qr(v - v.mean(0))[0] for v in (x, y, z)]
    shared = torch.linalg.eigvalsh(sum(b @ b.T for b in bases)).flip(0)[:3]  # of the sum of the projections onto views
    torch.testing.assert_close(found.correlations, (shared - 1) / 2, rtol=0, atol=1e-8)
    codes = torch.stack([v @ w.T + b for v, w, b in zip((x, y, z), found.weights, found.biases)])
    torch.testing.assert_close(code_correlation(codes, every), found.correlations, rtol=0, atol=1e-8)


@pytest.mark.parametrize("filler", [float("nan"), 1e30])
def test_moments_are_of_the_rows_that_have_both_views(filler):
    xs = [v + 1e6 for v in views(3, 2, 2)]  # large means cost no digits
    observed = torch.rand(80, 3, generator=torch.Generator().manual_seed(2)) < 0.6
    for i, x in enumerate(xs):
        x[~observed[:, i]] = filler
    found = ViewMoments.of(xs, observed)
    first, rest = (ViewMoments.of([x[rows] for x in xs], observed[rows]) for rows in (slice(17), slice(17, None)))
    joined = first.joined(rest)
    owner = [0, 0, 0, 1, 1, 2, 2]
    whole = torch.cat(xs, 1)
    for a, m in enumerate(owner):
        for b, n in enumerate(owner):
            both = observed[:, m] & observed[:, n]
            wanted = torch.cov(whole[both][:, [a, b]].T)[0, 1]
            assert found.covariance[a, b] == pytest.approx(wanted.item(), abs=1e-9)
            assert joined.covariance[a, b] == pytest.approx(wanted.item(), abs=1e-9)
            assert joined.mean[a, n] == pytest.approx(whole[both][:, a].mean().item(), rel=1e-15)
            assert joined.count[m, n] == both.sum()


def test_running_moments_weigh_rows_by_their_age():
    xs = views(2, 2)
    parts = [ViewMoments.of([x[rows] for x in xs], EVERY[rows]) for rows in (slice(30), slice(30, None))]
    mixed = parts[0].mixed(parts[1], 0.5)
    share = 50 / (15 + 50)
    wanted = (1 - share) * parts[0].covariance + share * parts[1].covariance
    torch.testing.assert_close(mixed.covariance, wanted)
    assert (mixed.count == 65).all()


def test_codes_that_agree_in_what_rows_have():
    codes = torch.tensor([[[1.0, 1.0], [-1.0, 3.0], [5.0, 5.0]], [[1.0, 3.0], [-1.0, 1.0], [9.0, 9.0]]])
    observed = torch.tensor([[True, True], [True, True], [False, False]])
    assert code_correlation(codes, observed).tolist() == [1.0, -1.0]
    assert code_correlation(codes, torch.zeros(3, 2).bool()).tolist() == [0.0, 0.0]
    assert code_correlation(codes[:, :1], observed[:1]).tolist() == [0.0, 0.0]


def test_a_lift_is_least_squares():
    rng = torch.Generator().manual_seed(0)
    z, out = torch.randn(50, 3, generator=rng), torch.randn(50, 2, generator=rng)
    seen = torch.rand(50, 1, generator=rng) < 0.7
    lift = torch.nn.Linear(3, 2)
    fit_lift(lift, out, torch.ones(50).bool(), {("x",): (z, seen)})
    rows = seen[:, 0].numpy()
    wanted = np.linalg.lstsq(np.c_[z, np.ones(50)][rows].astype(float), out[rows].double(), rcond=None)[0]
    np.testing.assert_allclose(torch.cat([lift.weight.T, lift.bias[None]]).detach(), wanted, atol=1e-5)


def test_what_has_no_answer_is_refused():
    x, y = views(3, 2)
    moments = ViewMoments.of([x, y], EVERY)
    for bad, reg in ((ViewMoments.of([x], EVERY[:, :1]), 0.1), (moments, -1.0), (moments, [0.1])):
        with pytest.raises(UsageError, match="give two views"):
            canonical_directions(bad, 2, reg)
    apart = torch.arange(80).remainder(2).unsqueeze(-1) == torch.arange(2)
    with pytest.raises(DataError, match="no two training rows have two views"):
        fit_projections(lambda: [([x, y], apart)], 2, 0.1)
