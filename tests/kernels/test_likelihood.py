"""Log-densities against torch's distributions in float64, values and gradients, broadcast over subsets."""

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Laplace, Normal

from mmppl.kernels.likelihood import (
    bernoulli_log_density,
    categorical_log_density,
    laplace_log_density,
    normal_log_density,
)

RNG = torch.Generator().manual_seed(0)
OUTPUT = torch.randn(4, 5, 7, generator=RNG, dtype=torch.float64)  # S, B, D
SPREAD = torch.randn(4, 5, 7, generator=RNG, dtype=torch.float64)
X = torch.rand(5, 7, generator=RNG, dtype=torch.float64)


def agree(ours, theirs, *inputs):
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    mine, other = (torch.autograd.grad(f.square().sum(), inputs, retain_graph=True) for f in (ours, theirs))
    torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("binary", [True, False])
def test_bernoulli(binary):
    logits, x = OUTPUT.clone().requires_grad_(), (X > 0.5).double() if binary else X
    want = Bernoulli(logits=logits, validate_args=False).log_prob(x).sum(-1)
    agree(bernoulli_log_density(logits, x), want, logits)


@pytest.mark.parametrize("kind", ["number", "learned", "predicted"])
def test_normal(kind):
    loc = OUTPUT.clone().requires_grad_()
    log_var = {"number": 0.7, "learned": SPREAD[0, 0].clone(), "predicted": SPREAD.clone()}[kind]
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
