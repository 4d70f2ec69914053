"""Pair sums against double sums over explicit differences in float64: values and every gradient."""

import pytest
import torch

from mmppl.kernels import mmd
from mmppl.kernels.pairwise import PairKernel

pytestmark = pytest.mark.usefixtures("path")


def explicit(kernel, x, y, a, b, within):
    r2 = (x[:, None] - y[None]).square().sum(-1)
    k = kernel(r2 + torch.eye(len(x), dtype=x.dtype) if within else r2)
    weight = a[:, None] * b * (1 - torch.eye(len(x), dtype=x.dtype) if within else 1)
    return (weight * k).sum()


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 2), (33, 70, 5), (130, 257, 20), (67, 3, 130)], ids=str)  # N, L, D
@pytest.mark.parametrize("make", [mmd.rbf, mmd.imq, mmd.laplacian, lambda s: mmd.rbf(s, 2 * s + 1)])
@pytest.mark.parametrize("within", [False, True])
def test_value_and_gradients(shape, make, within):
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, shape[2], generator=rng, dtype=torch.float64).requires_grad_() for n in shape[:2])
    a, b = (torch.rand(n, generator=rng, dtype=torch.float64) for n in shape[:2])
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    kernel = make(scale)
    got = kernel.formula.sum(x, None if within else y, kernel.parameters, x_weight=a, y_weight=None if within else b)
    want = explicit(kernel, x, x if within else y, a, a if within else b, within)
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)
    leaves = [x, scale] if within else [x, y, scale]
    if len(x) > 1 or not within:
        slopes = [torch.autograd.grad(value, leaves, retain_graph=True) for value in (got, want)]
        torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-9)


def test_doubling_variances_are_the_mean_of_their_kernels():
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = mmd.rbf(0.5, 1.0, 2.0, 4.0)
    assert together.formula.name == "rbf_doubling_4"
    apart = sum(mmd.rbf(v).formula.sum(x, None, (v,)) for v in (0.5, 1.0, 2.0, 4.0)) / 4
    torch.testing.assert_close(together.formula.sum(x, None, together.parameters), apart)


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_float32_gradients_keep_their_digits(path, offset):
    """Relative error against float64 of the gradient of a pair sum, and of MMD², where three of them cancel to an
    eighth: at most 5e-7 (tiles of PyTorch's operations sum in float32: 1e-6), on data shifted by 10 as well."""
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(1000, 20, generator=rng) + shift + offset for shift in (0, 0.1))
    kernel = mmd.rbf(*(5.0 * 2**i for i in range(5)))

    def error(function):
        leaves = [x.clone().requires_grad_(), x.double().requires_grad_()]
        found, want = (torch.autograd.grad(function(t, y.to(t.dtype)), t)[0].double() for t in leaves)
        return (found - want).norm() / want.norm()

    assert error(lambda a, b: kernel.formula.sum(a, b, kernel.parameters)) < 5e-7
    assert error(lambda a, b: mmd.mmd2(a, b, kernel)) < (5e-7 if path == "compiled" else 1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_contrast_is_its_three_sums(weighted):
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(n, 3, generator=rng, dtype=torch.float64, requires_grad=True) for n in (9, 70))
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    a, b = ((torch.rand(len(t), generator=rng) > 0.3).double() if weighted else None for t in (x, y))
    k = mmd.imq(scale).formula
    got = k.contrast(x, y, (scale,), (2.0, 0.5, torch.tensor(-3.0)), x_weight=a, y_weight=b)
    want = 2 * k.sum(x, None, (scale,), x_weight=a) + 0.5 * k.sum(y, None, (scale,), x_weight=b)
    want = want - 3 * k.sum(x, y, (scale,), x_weight=a, y_weight=b)
    torch.testing.assert_close(got, want)
    slopes = [torch.autograd.grad(value, [x, y, scale]) for value in (got, want)]
    torch.testing.assert_close(*slopes)


def test_rows_of_weight_zero_may_hold_anything():
    x = torch.randn(6, 3, dtype=torch.float64)
    keep = torch.tensor([1.0, 0, 1, 1, 0, 1], dtype=torch.float64)
    spoilt = x.clone()
    spoilt[keep == 0] = torch.nan
    leaf = spoilt.requires_grad_()
    kernel = mmd.rbf(1.0)
    value = kernel.formula.sum(leaf, None, (1.0,), x_weight=keep)
    torch.testing.assert_close(value, kernel.formula.sum(x[keep > 0], None, (1.0,)))
    (slope,) = torch.autograd.grad(value, leaf)
    assert slope.isfinite().all() and (slope[keep == 0] == 0).all()
    assert kernel.formula.sum(spoilt.detach(), None, (1.0,)).isnan()


def test_threads_change_the_rounding_only():
    x, y = torch.randn(700, 8, dtype=torch.float64), torch.randn(900, 8, dtype=torch.float64)
    before, kernel = torch.get_num_threads(), mmd.rbf(3.0)
    sums = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            leaf = x.clone().requires_grad_()
            value = kernel.formula.sum(leaf, y, (3.0,))
            sums.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(sums[0], sums[1], rtol=1e-12, atol=1e-12)


def test_bad_arguments_are_named():
    x, kernel = torch.randn(4, 3), mmd.rbf(1.0).formula
    with pytest.raises(ValueError, match="expected samples"):
        kernel.sum(x, x[:, :2], (1.0,))
    with pytest.raises(ValueError, match="must not be negative"):
        kernel.sum(x, x, (1.0,), x_weight=-torch.ones(4))
    with pytest.raises(ValueError, match="must be positive"):
        kernel.sum(x, x, (0.0,))
    with pytest.raises(ValueError, match="expected the parameters"):
        kernel.sum(x, x)
    with pytest.raises(ValueError, match="one dtype"):
        kernel.sum(x, x.double(), (1.0,))
    assert kernel.sum(x[:0], x, (1.0,)) == 0


def test_linear_time_estimate_is_unbiased():
    """Against the population value 0.2785838593 (see test_mmd); 4 standard errors: false alarm 6e-5."""
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 20001, 2, generator=rng, dtype=torch.float64)
    x = torch.tensor([0.5, -1.0]) + a * torch.tensor([0.8, 0.5])
    y = torch.tensor([-0.25, 0.0]) + b * torch.tensor([1.2, 1.0])
    parts = torch.stack([mmd.mmd2_linear(x[i : i + 200], y[i : i + 200], mmd.rbf(1.0)) for i in range(0, 20000, 200)])
    assert (parts.mean() - 0.2785838593).abs() < 4 * parts.std() / 10
    torch.testing.assert_close(mmd.mmd2_linear(x, y, mmd.rbf(1.0)), parts.mean())


def test_a_kernel_may_be_infinite_where_a_row_meets_itself():
    """And where a row of weight 0 meets another at no distance."""
    kernel = PairKernel("log_distance_here", "-log(r2)")
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.tensor([1.0, 0, 1, 1, 0, 1, 1], dtype=torch.float64)
    x[1] = x[0]
    kept = x[weight > 0].clone().requires_grad_()
    x.requires_grad_()
    got, want = kernel.sum(x, None, x_weight=weight), -(torch.pdist(kept).square().log().sum() * 2)
    torch.testing.assert_close(got, want)
    slope, of_kept = torch.autograd.grad(got, x)[0], torch.autograd.grad(want, kept)[0]
    torch.testing.assert_close(slope[weight > 0], of_kept)
    assert (slope[weight == 0] == 0).all()
