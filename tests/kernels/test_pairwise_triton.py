"""Pair sums in Triton, on a GPU or interpreted: against explicit differences in float64, and their laws.

Shapes are small: the interpreter takes some milliseconds for every feature of every block.
"""

import pytest
import torch
from reference.precision import assert_rounds_like

from mmppl.kernels import mmd, pairwise_triton
from mmppl.kernels.pairwise import PairKernel, tiled

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # an infinite slope, then left out
plain_exponential = mmd.Kernel(PairKernel("plain_exponential", "exp(-r2/9)"))
logarithm = PairKernel("logarithm", "log(r2)")
power = PairKernel("power", "1/(1 + r2**1.5)")
two_numbers = PairKernel("two_numbers", "u = r2/s; a/(1 + u) + log1p(u)*exp(-u)", ("s", "a"))
WIDTHS = {  # scaled to the distances, so that every kernel has something to tell
    "rbf": lambda s: mmd.rbf(s),
    "rbf_doubling": lambda s: mmd.rbf(*(s / 4 * 2**i for i in range(4))),
    "imq": lambda s: mmd.imq(s),
    "laplacian": lambda s: mmd.laplacian(s**0.5),
    "plain_exponential": lambda s: plain_exponential,
    "two_numbers": lambda s: mmd.Kernel(two_numbers, (s, s / 3)),
}
SHAPES = [(1, 1, 1), (5, 3, 2), (9, 40, 11), (67, 35, 50)]  # N, L, D; features in one chunk and in several
CASES = [(name, shape) for name in WIDTHS for shape in SHAPES] + [("imq", (258, 70, 1))]  # and several bands and runs
named = pytest.mark.parametrize("name", WIDTHS)
features = pytest.mark.parametrize("D", [3, 40])  # sums in registers, products in chunks


def draw(N, L, D, shift=0.0, dtype=torch.float64):
    """x, y, and weights of which some are 0."""
    rng = torch.Generator().manual_seed(N + D)
    x, y = (torch.randn(n, D, generator=rng, dtype=torch.float64).add(shift).to(dtype) for n in (N, L))
    a, b = (torch.rand(n, generator=rng, dtype=torch.float64).sub(0.1).clamp_min(0).to(dtype) for n in (N, L))
    return x, y, a, b


def explicit(kernel, x, y, a, b, within):
    """The double sum by differences; where two rows meet, k has no slope."""
    r2 = (x[:, None] - y[None]).square().sum(-1)
    meet = r2 == 0
    k = torch.where(meet, kernel(torch.zeros_like(r2)), kernel(torch.where(meet, 1.0, r2)))
    weight = a[:, None] * b
    return ((weight.fill_diagonal_(0) if within else weight) * k).sum()


def run(kernel, x, y, a, b, within=False):
    """Value and gradients for x (, y) and the parameters, through the public function."""
    leaves = [t.clone().requires_grad_() for t in ((x,) if within else (x, y))]
    parameters = [torch.as_tensor(p, dtype=x.dtype, device=x.device).requires_grad_() for p in kernel.parameters]
    other, weight = (None, None) if within else (leaves[1], b)
    value = kernel.formula.sum(leaves[0], other, parameters, x_weight=a, y_weight=weight)
    return [value.detach(), *torch.autograd.grad(value, leaves + parameters)]


@pytest.mark.parametrize(("name", "shape"), CASES, ids=str)
@pytest.mark.parametrize("within", [False, True], ids=["across", "within"])
def test_value_and_gradients(name, shape, within, triton_device):
    x, y, a, b = draw(*shape)
    y, b = (x, a) if within else (y, b)
    kernel = WIDTHS[name](float(shape[2]))
    parameters = [torch.tensor(p, dtype=torch.float64).requires_grad_() for p in kernel.parameters]
    leaves = [x.clone().requires_grad_(), *([] if within else [y.clone().requires_grad_()])]
    want = explicit(kernel._replace(parameters=tuple(parameters)), leaves[0], leaves[-1], a, b, within)
    slopes = torch.autograd.grad(want, leaves + parameters, allow_unused=True, materialize_grads=True)
    single = [t.float() for t in (x, y, a, b)]
    at = torch.tensor(kernel.parameters, dtype=torch.float32)
    value, gx, gy, gp = tiled(kernel.formula.formula, *single, at, within, True)
    plain = [value, gx, *([] if within else [gy]), *gp]
    got = run(kernel, *(t.to(triton_device) for t in single), within)
    assert_rounds_like(got, [t.float() for t in plain], [want.detach(), *slopes])


@pytest.mark.slow
@named
@features
def test_gradients_are_finite_differences(name, D, triton_float64):
    x, y, a, b = draw(3, 4, D)
    kernel = WIDTHS[name](float(D))
    leaves = [x, y, *(torch.tensor(p, dtype=torch.float64) for p in kernel.parameters)]

    def function(x, y, *parameters):
        sums = [kernel.formula.sum(x, None, parameters, x_weight=a)]
        return sums[0] + kernel.formula.sum(x, y, parameters, x_weight=a, y_weight=b)

    assert torch.autograd.gradcheck(function, [t.requires_grad_() for t in leaves], fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize(("D", "bound"), [(20, 5e-7), pytest.param(64, 1e-6, marks=pytest.mark.slow)])
def test_a_shift_costs_no_digits_of_the_gradient_of_mmd(D, bound, triton_device):
    """Three sums cancel; data shifted by 10. Relative error against float64; the C code on a CPU shows 6e-7."""
    x, y, _, _ = draw(120, 90, D, 10.0, torch.float32)
    y = y + 0.1
    kernel = mmd.rbf(*(D / 4 * 2.0**i for i in range(5)))
    leaf = x.to(triton_device, copy=True).requires_grad_()
    (found,) = torch.autograd.grad(mmd.mmd2(leaf, y.to(triton_device), kernel), leaf)
    exact = x.double().requires_grad_()
    pairs = [(exact, exact, 1 / 120**2), (exact, y.double(), -2 / (120 * 90))]
    value = sum(share * explicit(kernel, p, q, *(t.new_ones(len(t)) for t in (p, q)), p is q) for p, q, share in pairs)
    (want,) = torch.autograd.grad(value, exact)
    assert (found.double().cpu() - want).norm() / want.norm() < bound


@pytest.mark.parametrize("unbiased", [False, True])
def test_mmd(unbiased, triton_float64):
    """The values that `test_mmd` has from double loops."""
    x = torch.sin(0.2 + 1.7 * torch.arange(15, dtype=torch.float64)).view(5, 3)
    y = 0.4 + 1.3 * torch.sin(2 + 1.7 * torch.arange(12, dtype=torch.float64)).view(4, 3)
    for kernel, values in (
        (mmd.rbf(0.25, 1.0, 4.0), (0.281994106, -0.05841484676)),
        (mmd.imq(6.0), (0.1583305095, -0.03330731968)),
    ):
        assert mmd.mmd2(x, y, kernel, unbiased=unbiased).item() == pytest.approx(values[unbiased], abs=1e-9)


@features
def test_rows_of_weight_zero_may_hold_anything(D, triton_device):
    x, y, a, b = (t.to(triton_device) for t in draw(6, 5, D, dtype=torch.float32))
    a[::2], b[1] = 0, 0
    spoilt = [torch.where(w.unsqueeze(-1) == 0, torch.nan, t) for t, w in ((x, a), (y, b))]
    kernel = mmd.laplacian(1.0)
    got, want = (run(kernel, *samples, a, b) for samples in (spoilt, (x * (a > 0)[:, None], y * (b > 0)[:, None])))
    assert all(map(torch.equal, got, want))
    assert (got[1][a == 0] == 0).all()
    assert run(kernel, *spoilt, None, None)[0].isnan()


@features
def test_rows_that_meet_have_no_direction(D, triton_device):
    """A Laplacian kernel of equal rows: infinite slope, left out; the others' gradients stay exact."""
    x, y, a, b = draw(4, 3, D)
    x[1], y[2] = x[0], x[0]
    kernel = mmd.laplacian(D**0.5)
    for within in (True, False):
        leaf = x.clone().requires_grad_()
        want = torch.autograd.grad(explicit(kernel, leaf, leaf if within else y, a, a if within else b, within), leaf)
        got = run(kernel, *(t.float().to(triton_device) for t in (x, y, a, b)), within)[1]
        torch.testing.assert_close(got.double().cpu(), want[0], rtol=2e-6, atol=2e-7)


@features
def test_a_cusp_is_seen_by_differences(D, triton_device):
    """Rows a thousandth apart: products would give the gradient 3 % wrong.
    Only the last step, c x − c y, rounds: 1e-7 of |x| against 6e-3 between the rows."""
    x, y, a, b = draw(4, 3, D, dtype=torch.float32)
    y[1] = x[0] + 1e-3 * x[2]
    kernel = mmd.laplacian(D**0.5)
    leaf = x.double().requires_grad_()
    want = torch.autograd.grad(explicit(kernel, leaf, y.double(), a.double(), b.double(), False), leaf)[0]
    got = run(kernel, *(t.to(triton_device) for t in (x, y, a, b)))[1]
    torch.testing.assert_close(got.double().cpu(), want, rtol=0, atol=2e-4 * want.abs().max().item())


@features
def test_a_kernel_may_be_infinite_where_a_row_meets_itself(D, triton_device):
    x, y, a, b = (t.to(triton_device) for t in draw(4, 3, D, dtype=torch.float32))
    value = logarithm.sum(x, None)
    want = (x[:, None] - x[None]).double().square().sum(-1).fill_diagonal_(1).log().sum()
    torch.testing.assert_close(value.double(), want, rtol=2e-6, atol=0)


@features
def test_no_distance_is_negative(D, triton_device):
    """Rounded products may give less than 0 where rows meet, and a root of that is no number."""
    x = draw(20, 1, D, dtype=torch.float32)[0].to(triton_device)
    assert all(t.isfinite().all() for t in run(mmd.Kernel(power), x, x, None, None))


@features
def test_a_nan_is_not_lost(D, triton_device):
    x, y, a, b = (t.to(triton_device) for t in draw(5, 4, D, dtype=torch.float32))
    y[1, 1] = torch.nan
    assert run(mmd.rbf(1.0), x, y, None, None)[0].isnan()


def test_small_samples(triton_device):
    x = torch.randn(3, 4, device=triton_device)
    for few in (x[:0], x[:1]):
        value, slope, _ = run(mmd.rbf(1.0), few, few, None, None, within=True)
        assert value == 0 and slope.shape == few.shape and (slope == 0).all()
    assert run(mmd.rbf(1.0), x[:0], x, None, None)[0] == 0


@features
def test_strides_do_not_matter(D, triton_device):
    x, y, a, b = (t.to(triton_device) for t in draw(5, 4, D, dtype=torch.float32))
    kernel = mmd.rbf(float(D))
    strided = [t.T.contiguous().T for t in (x, y)] + [t.repeat_interleave(2)[::2] for t in (a, b)]
    assert all(map(torch.equal, run(kernel, *strided), run(kernel, x, y, a, b)))


@features
def test_how_the_blocks_are_shared_changes_the_rounding_only(D, triton_device, monkeypatch):
    """One program for all runs of blocks, or one for each: the sums agree; and each sum has one order."""
    x, y, a, b = (t.to(triton_device) for t in draw(4, 300 if D > 8 else 140, D, dtype=torch.float32))
    kernel, sums = mmd.imq(float(D)), []
    for programs in (512, 512, 1):
        monkeypatch.setattr(pairwise_triton, "PROGRAMS", programs)
        sums.append(run(kernel, x, y, a, b))
    assert all(map(torch.equal, sums[0], sums[1]))
    torch.testing.assert_close(sums[0], sums[2], rtol=1e-6, atol=1e-6)


def test_no_gradient_asked(triton_device):
    x, y, a, b = (t.to(triton_device) for t in draw(5, 4, 3, dtype=torch.float32))
    kernel = mmd.rbf(1.0)
    assert torch.equal(kernel.formula.sum(x, y, kernel.parameters, x_weight=a, y_weight=b), run(kernel, x, y, a, b)[0])


def test_bfloat16_is_computed_in_float32(triton_device):
    samples = [t.bfloat16().to(triton_device) for t in draw(5, 4, 3)]
    kernel = mmd.rbf(2.0)
    want = run(kernel, *(t.float() for t in samples))
    for got, exact in zip(run(kernel, *samples), want):
        assert torch.equal(got, exact.bfloat16())
