"""MMD² against tabulated values (double loops), autograd and its population value."""

import itertools

import numpy as np
import pytest
import torch

from mmppl.kernels.mmd import (
    imq,
    median_heuristic,
    median_mixture,
    mmd2,
    mmd2_of_some,
    paper_kernel,
    rbf,
    squared_distances,
)

pytestmark = pytest.mark.usefixtures("path")


def det(shape, start):
    return torch.from_numpy(np.sin(start + 1.7 * np.arange(np.prod(shape))).reshape(shape))


X, Y = det((5, 3), 0.2), 0.4 + 1.3 * det((4, 3), 2.0)


@pytest.mark.parametrize(
    ("kernel", "unbiased", "expected"),
    [
        (rbf(1.0), True, -0.08754551146),
        (rbf(1.0), False, 0.2874347666),
        (imq(6.0), True, -0.03330731968),
        (imq(6.0), False, 0.1583305095),
        (rbf(0.25, 1.0, 4.0), True, -0.05841484676),
        (rbf(0.25, 1.0, 4.0), False, 0.281994106),
        (paper_kernel(3), False, 0.1582204541),
    ],
)
def test_tabulated_values(kernel, unbiased, expected):
    assert mmd2(X, Y, kernel, unbiased=unbiased).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("unbiased", "expected"),
    [
        (True, [-0.07787840917, -0.1040905371, -0.001670383502]),
        (False, [-0.0745843836, -0.08717654532, -0.009322958527]),
    ],
)
def test_tabulated_gradients(unbiased, expected):
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mmd2(x, Y, rbf(1.0), unbiased=unbiased), x)
    torch.testing.assert_close(gradient[0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


def test_median_heuristic():
    assert median_heuristic(X, Y).item() == pytest.approx(2.052151297, abs=1e-9)
    assert not median_heuristic(X.clone().requires_grad_(), Y).requires_grad
    want = mmd2(X, Y, rbf(*(2.052151297 * f for f in (0.25, 0.5, 1, 2, 4))))
    torch.testing.assert_close(mmd2(X, Y, median_mixture(X, Y)), want, rtol=0, atol=1e-8)


def test_the_median_leaves_out_rows_of_weight_zero():
    keep, other = torch.tensor([1, 0, 1, 1, 0]), torch.tensor([1, 1, 0, 1])
    for x_weight, y_weight in ((keep, other), (keep, None), (None, other)):
        got = median_heuristic(X, Y, x_weight=x_weight, y_weight=y_weight)
        left = [p if w is None else p[w > 0] for p, w in ((X, x_weight), (Y, y_weight))]
        torch.testing.assert_close(got, median_heuristic(*left))
    assert median_heuristic(X, Y, x_weight=0 * keep, y_weight=0 * other).item() < 1e-300
    spoilt = torch.where(keep.unsqueeze(-1) > 0, X, torch.nan)
    torch.testing.assert_close(median_heuristic(spoilt, Y, x_weight=keep), median_heuristic(X[keep > 0], Y))


def test_rows_of_weight_zero_are_as_if_absent():
    keep = torch.tensor([1, 0, 1, 1, 0], dtype=torch.float64)
    for unbiased in (False, True):
        got = mmd2(X, Y, rbf(1.0), unbiased=unbiased, x_weight=keep)
        torch.testing.assert_close(got, mmd2(X[keep > 0], Y, rbf(1.0), unbiased=unbiased))
    assert mmd2(X, Y, rbf(1.0), x_weight=torch.zeros(5)).item() == 0.0


def test_a_common_offset_costs_no_digits():
    exact = mmd2(X, Y, rbf(1.0)).item()
    shifted = mmd2((X + 1000.0).float(), (Y + 1000.0).float(), rbf(1.0)).item()
    assert shifted == pytest.approx(exact, abs=3e-4)
    assert (squared_distances(X, X).diagonal() >= 0).all()


def test_rows_of_weight_0_cost_no_digits_under_a_common_offset():
    """float32 against float64 of the same numbers, a third of the rows left out: 1,000 standard deviations off 0."""
    x, y = (torch.randn(2, 60, 3, generator=torch.Generator().manual_seed(0)) + 1000.0).float()
    rows = torch.arange(60) % 3 > 0
    hidden = torch.where(rows.unsqueeze(-1), x, torch.nan)
    exact = median_heuristic(x.double()[rows], y.double()).item()
    assert median_heuristic(hidden, y, x_weight=rows).item() == pytest.approx(exact, rel=2e-5)
    exact = mmd2(x.double()[rows], y.double(), rbf(1.0)).item()
    assert mmd2(hidden, y, rbf(1.0), x_weight=rows).item() == pytest.approx(exact, abs=1e-6)


def test_unbiased_estimate_has_the_population_value():
    """N([.5,-1], diag [.64,.25]) against N([-.25,0], diag [1.44,1]), σ² = 1: 0.2785838593 by quadrature. 40 estimates
    of 500 rows; a deviation above 4 standard errors of their mean has probability 6e-5."""
    rng = torch.Generator().manual_seed(0)
    estimates = []
    for _ in range(40):
        a, b = torch.randn(2, 500, 2, generator=rng, dtype=torch.float64)
        x = torch.tensor([0.5, -1.0]) + a * torch.tensor([0.8, 0.5])
        y = torch.tensor([-0.25, 0.0]) + b * torch.tensor([1.2, 1.0])
        estimates.append(mmd2(x, y, rbf(1.0), unbiased=True).item())
    assert abs(np.mean(estimates) - 0.2785838593) < 4 * np.std(estimates, ddof=1) / 40**0.5


@pytest.mark.parametrize("n", [2, 3, 4])
def test_some_rows_have_the_mean_of_the_v_statistic_of_all(n):
    """Over all choices of n of 5 rows, values and gradients; rows of x and y depend on each other."""
    x, whole = X.clone().requires_grad_(), torch.ones(5, dtype=torch.bool)
    y = 0.8 * X.detach() + 0.3 * det((5, 3), 2.0)
    choices = [torch.isin(torch.arange(5), torch.tensor(kept)) for kept in itertools.combinations(range(5), n)]
    found = torch.stack([mmd2_of_some(x, y, rbf(1.0), rows) for rows in choices]).mean()
    wanted = mmd2(x, y, rbf(1.0))
    assert torch.equal(mmd2_of_some(x, y, rbf(1.0), whole), wanted)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(value, x)[0] for value in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
    alone = torch.stack([mmd2(x[rows], y[rows], rbf(1.0)) for rows in choices]).mean()
    assert abs(alone - wanted) > 0.1 * wanted  # the V-statistic of n rows is another number
    hidden = torch.where(choices[0].unsqueeze(-1), x.detach(), 1e30)
    torch.testing.assert_close(mmd2_of_some(hidden, y, rbf(1.0), choices[0]), mmd2_of_some(x, y, rbf(1.0), choices[0]))


def test_of_one_row_among_others_nothing_is_known():
    one = torch.arange(5) == 2
    y = 0.4 + det((5, 3), 2.0)
    assert mmd2_of_some(X, y, rbf(1.0), one) == 0 == mmd2_of_some(X, y, rbf(1.0), one & False)
    assert mmd2_of_some(X[2:3], y[2:3], rbf(1.0), one[2:3]) == mmd2(X[2:3], y[2:3], rbf(1.0))


def test_bf16_autocast_costs_no_digits():
    x, y = X.float(), Y.float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = mmd2(x, y, median_mixture(x, y))
    assert torch.equal(inside, mmd2(x, y, median_mixture(x, y)))


def test_shapes_that_disagree_are_named():
    with pytest.raises(ValueError, match=r"expected x \(n, D\)"):
        mmd2(X, Y[:, :2], rbf(1.0))
