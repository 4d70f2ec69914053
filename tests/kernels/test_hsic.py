"""HSIC against loops and as the MMD² that it is; independence, dependence, weights of 0."""

import pytest
import torch

from mmppl.kernels.hsic import hsic
from mmppl.kernels.mmd import imq, rbf

pytestmark = pytest.mark.usefixtures("float64")


def samples(n=12, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=rng), torch.randn(n, 2, generator=rng)


def gram(x, variance):
    return torch.exp(-torch.cdist(x, x).square() / (2 * variance))


def test_it_is_the_trace_and_the_loops():
    x, y = samples()
    k, l = gram(x, 1.5), gram(y, 0.7)  # noqa: E741
    n = len(x)
    h = torch.eye(n) - 1 / n
    wanted = torch.trace(k @ h @ l @ h) / n**2
    loops = sum(k[i, j] * l[i, j] for i in range(n) for j in range(n)) / n**2 + k.mean() * l.mean()
    loops -= 2 * sum(k[i].mean() * l[i].mean() for i in range(n)) / n
    found = hsic(x, y, rbf(1.5), rbf(0.7))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-14)
    torch.testing.assert_close(found, loops, rtol=0, atol=1e-14)


def test_it_is_the_mmd_between_the_pairs_and_all_pairs():
    x, y = samples(7)
    k, l = gram(x, 1.0), gram(y, 1.0)  # noqa: E741
    joint = (k * l).mean()
    product = torch.kron(k, l).mean()
    across = torch.einsum("ia,ib->iab", k, l).mean()
    torch.testing.assert_close(hsic(x, y, rbf(1.0), rbf(1.0)), joint + product - 2 * across, rtol=0, atol=1e-14)


def test_gradients_and_weights():
    x, y = samples()
    weight = torch.tensor([1.0, 0, 2, 1, 0, 0.5, 1, 1, 1, 0, 1, 3])
    leaves = (x.requires_grad_(), y.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: hsic(a, b, rbf(2.0), imq(1.0), weight=weight), leaves)
    kept = weight > 0
    twice = torch.cat([x[kept], x[2:3]]), torch.cat([y[kept], y[2:3]])
    doubled = torch.cat([torch.where(torch.arange(12) == 2, 1.0, weight)[kept], torch.ones(1)])
    found = hsic(x, y, rbf(1.0), rbf(1.0), weight=weight)
    torch.testing.assert_close(found, hsic(*twice, rbf(1.0), rbf(1.0), weight=doubled))


@pytest.mark.parametrize("filler", [1000.0, float("nan")])
def test_rows_of_weight_0_change_no_bit(filler):
    x, y = samples()
    rows = torch.arange(12) % 3 > 0

    def outcome(fill):
        leaves = [torch.where(rows.unsqueeze(-1), t, fill).requires_grad_() for t in (x, y)]
        value = hsic(*leaves, rbf(1.0), rbf(1.0), weight=rows)
        return [value, *torch.autograd.grad(value, leaves)]

    assert all(torch.equal(a, b) for a, b in zip(outcome(0.0), outcome(filler)))
    assert hsic(x, y, rbf(1.0), rbf(1.0), weight=rows & False) == 0


def test_rows_of_weight_0_cost_no_digits_under_a_common_offset():
    """float32 against float64 of the same numbers, a third of the rows left out: 1,000 standard deviations off 0."""
    rows = torch.arange(90) % 3 > 0
    x, y = ((t + 1000.0).float() for t in samples(90))
    exact = hsic(x.double()[rows], y.double()[rows], rbf(1.0), rbf(1.0))
    hidden = [torch.where(rows.unsqueeze(-1), t, torch.nan) for t in (x, y)]
    assert hsic(*hidden, rbf(1.0), rbf(1.0), weight=rows).item() == pytest.approx(exact.item(), rel=2e-5)


def test_it_separates_dependence_from_independence():
    x, y = samples(400)
    assert hsic(x, y, rbf(3.0), rbf(2.0)) < 0.005 < 4 * 0.005 < hsic(x, x[:, :2].sin(), rbf(3.0), rbf(2.0))
    assert hsic(x, torch.ones(400, 1), rbf(3.0), rbf(1.0)).abs() < 1e-12


def test_shapes_that_disagree_are_named():
    x, y = samples()
    with pytest.raises(ValueError, match="x \\(n, D\\)"):
        hsic(x, y[:5], rbf(1.0), rbf(1.0))
