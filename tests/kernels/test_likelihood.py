"""Log-densities against torch's distributions in float64, values and gradients, broadcast over subsets."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Laplace, Normal

from mmppl.kernels.categorical import categorical_log_density
from mmppl.kernels.likelihood import (
    bernoulli_log_density,
    laplace_log_density,
    normal_log_density,
    normal_predicted_log_density,
)

RNG = torch.Generator().manual_seed(0)
OUTPUT = torch.randn(4, 5, 7, generator=RNG, dtype=torch.float64)  # S, B, D
SPREAD = torch.randn(4, 5, 7, generator=RNG, dtype=torch.float64)
X = torch.rand(5, 7, generator=RNG, dtype=torch.float64)

pytestmark = pytest.mark.usefixtures("path")


def agree(ours, theirs, *inputs):
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    mine, other = (torch.autograd.grad(f.square().sum(), inputs, retain_graph=True) for f in (ours, theirs))
    torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("binary", [True, False])
def test_bernoulli(binary):
    logits, x = OUTPUT.clone().requires_grad_(), (X > 0.5).double() if binary else X
    want = Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(-1)
    agree(bernoulli_log_density(logits, x), want, logits)


def test_normal_of_predicted_variance():
    output = (4 * torch.cat([OUTPUT, SPREAD], -1)).requires_grad_()
    loc, log_var = output.chunk(2, -1)
    assert (log_var.abs() > 7).any()
    want = Normal(loc, torch.exp(0.5 * log_var.clamp(-7, 7))).log_prob(X).sum(-1)
    agree(normal_predicted_log_density(X, output), want, output)


@pytest.mark.parametrize("kind", ["number", "learned", "scalar"])
def test_normal(kind):
    loc = OUTPUT.clone().requires_grad_()
    log_var = {"number": 0.7, "learned": SPREAD[0, 0].clone(), "scalar": SPREAD[0, 0, 0].clone()}[kind]
    inputs = [loc] if kind == "number" else [loc, log_var.requires_grad_()]
    want = Normal(loc, torch.exp(0.5 * torch.as_tensor(log_var, dtype=torch.float64))).log_prob(X).sum(-1)
    agree(normal_log_density(X, loc, log_var), want, *inputs)


@pytest.mark.parametrize("kind", ["number", "learned"])
def test_laplace(kind):
    loc = OUTPUT.clone().requires_grad_()
    log_b = -0.3 if kind == "number" else SPREAD[0, 0].clone().requires_grad_()
    inputs = [loc] if kind == "number" else [loc, log_b]
    want = Laplace(loc, torch.as_tensor(log_b, dtype=torch.float64).exp()).log_prob(X).sum(-1)
    agree(laplace_log_density(X, loc, log_b), want, *inputs)


@pytest.mark.parametrize("length", [1, 3])
def test_categorical(length):
    logits = torch.randn(4, 5, length, 6, generator=RNG, dtype=torch.float64, requires_grad=True)
    codes = torch.randint(6, (5, length), generator=RNG)
    want = Categorical(logits=logits).log_prob(codes.expand(4, 5, length)).sum(-1)
    agree(categorical_log_density(logits, codes), want, logits)


def test_logits_far_out_stay_finite():
    logits = torch.tensor([[1000.0, -1000.0]])
    assert bernoulli_log_density(logits, torch.tensor([[1.0, 0.0]])).item() == 0.0
    assert categorical_log_density(logits.unsqueeze(-2), torch.tensor([[0]])).item() == 0.0


def test_rows_under_the_mask_do_not_matter():
    mask = torch.rand(4, 5, generator=torch.Generator().manual_seed(3)) < 0.5
    output, x = OUTPUT.clone(), X.clone()
    output[~mask] = torch.nan
    x[~mask.any(0)] = torch.nan
    leaf = output.requires_grad_()
    for f in (
        lambda o, m: bernoulli_log_density(o, x, m),
        lambda o, m: normal_log_density(x, o, 0.3, m),
        lambda o, m: laplace_log_density(x, o, -0.2, m),
    ):
        got, full = f(leaf, mask), f(OUTPUT, None)
        torch.testing.assert_close(got[mask], full[mask])
        assert (got[~mask] == 0).all()
        (slope,) = torch.autograd.grad(got.sum(), leaf)
        assert slope.isfinite().all() and (slope[~mask] == 0).all()
    assert bernoulli_log_density(leaf, x).isnan().any()  # outside a mask it shows


def test_strided_and_expanded_inputs():
    wide = torch.randn(5, 14, generator=RNG, dtype=torch.float64)
    for loc in (wide[:, ::2], wide[:, :7], wide[:, :7].expand(3, 5, 7), wide[:, :7].expand(2, 3, 5, 7)):
        want = Normal(loc, torch.tensor(2.0, dtype=torch.float64)).log_prob(X).sum(-1)
        torch.testing.assert_close(normal_log_density(X, loc, 2 * math.log(2.0)), want)


def test_masks_and_parameters_with_strides():
    seen = torch.rand(5, 3, generator=RNG) < 0.5
    log_var = torch.randn(14, generator=RNG, dtype=torch.float64)[::2]
    for v in (log_var, torch.tensor(0.3, dtype=torch.float64).expand(7)):
        want = Normal(OUTPUT, torch.exp(0.5 * v)).log_prob(X).sum(-1)
        got = normal_log_density(X, OUTPUT, v, mask=seen[:, 1])
        torch.testing.assert_close(got, torch.where(seen[:, 1], want, 0.0))
    with pytest.raises(ValueError, match="a mask is bool"):
        bernoulli_log_density(OUTPUT, X, seen[:, 1].double())


def test_threads_add_up_a_parameters_gradient_in_one_order():
    x, loc = torch.randn(4000, 60, generator=RNG), torch.randn(4000, 60, generator=RNG)
    before, found = torch.get_num_threads(), set()
    try:
        torch.set_num_threads(2)
        for _ in range(20):
            log_var = torch.zeros(60, requires_grad=True)
            (slope,) = torch.autograd.grad(normal_log_density(x, loc, log_var).sum(), log_var)
            found.add(tuple(slope.tolist()))
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="expected x"):
        bernoulli_log_density(OUTPUT, X[:, :3])
    with pytest.raises(ValueError, match="one dtype"):
        bernoulli_log_density(OUTPUT, X.float())
    with pytest.raises(ValueError, match="a parameter is"):
        normal_log_density(X, OUTPUT, torch.zeros(3, dtype=torch.float64))
    with pytest.raises((IndexError, RuntimeError)):
        categorical_log_density(torch.zeros(1, 1, 3), torch.tensor([[3]]))


def test_empty_tensors():
    nothing = torch.zeros(4, 5, 0, requires_grad=True)
    value = laplace_log_density(torch.zeros(5, 0), nothing, torch.zeros(0, requires_grad=True))
    assert value.tolist() == [[0.0] * 5] * 4 and torch.autograd.grad(value.sum(), nothing)[0].shape == (4, 5, 0)
    with pytest.raises(ValueError, match="K ≥ 1"):
        categorical_log_density(torch.zeros(2, 3, 0), torch.zeros(2, 3).long())
    assert bernoulli_log_density(torch.zeros(4, 0, 7), torch.zeros(0, 7)).shape == (4, 0)
    assert bernoulli_log_density(torch.zeros(0, 5, 7), torch.zeros(5, 7)).shape == (0, 5)
    assert categorical_log_density(torch.zeros(0, 2, 3), torch.zeros(0, 2).long()).shape == (0,)


OF_OUTPUTS = {
    "bernoulli": lambda o: bernoulli_log_density(o, X.float()),
    "normal": lambda o: normal_log_density(X.float(), o, 0.3),
    "normal of predicted variance": lambda o: normal_predicted_log_density(X[:, :3].float(), o[..., :6]),
    "laplace": lambda o: laplace_log_density(X.float(), o, -0.3),
    "categorical": lambda o: categorical_log_density(o.unsqueeze(-2), torch.arange(5).unsqueeze(-1)),
}


@pytest.mark.parametrize("density", OF_OUTPUTS.values(), ids=OF_OUTPUTS.keys())
def test_outputs_in_bfloat16_are_read_as_they_lie(density):
    """Value in float32, bit for bit that of the same numbers in float32; the gradient is its gradient, rounded."""
    half = OUTPUT.bfloat16().requires_grad_()
    whole = half.detach().float().requires_grad_()
    got, want = density(half), density(whole)
    assert got.dtype == torch.float32
    assert torch.equal(got, want)
    slope = torch.linspace(-1, 1, got.numel()).view_as(got)
    (mine,), (other,) = (torch.autograd.grad(v, o, slope) for v, o in ((got, half), (want, whole)))
    assert mine.dtype == torch.bfloat16
    assert torch.equal(mine, other.bfloat16())


def test_a_gradient_that_is_not_a_number_stays_so_in_bfloat16():
    logits = torch.zeros(1, 2, dtype=torch.bfloat16, requires_grad=True)
    value = bernoulli_log_density(logits, torch.tensor([[torch.nan, 0.5]]))
    assert torch.autograd.grad(value.sum(), logits)[0].isnan().tolist() == [[True, False]]
