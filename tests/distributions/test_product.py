"""Products of experts as distributions: tabulated values, draws, divergences; with exponents, without the prior."""

import math

import pytest
import torch
from torch.distributions import kl_divergence

from mmppl import Gaussian, standard_normal
from mmppl.distributions.product import product_of_experts

pytestmark = pytest.mark.usefixtures("float64")
LOC = torch.tensor([[1, -0.5], [2, 0.3], [-1, 0.8]], dtype=torch.float64).unsqueeze(1)
LOG_VAR = torch.tensor([[0, -1], [math.log(0.25), 0.5], [1, -0.3]], dtype=torch.float64).unsqueeze(1)
TEMPER = torch.tensor([0.5, 1, 2], dtype=torch.float64)
ALL = torch.ones(1, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1.355572234, -0.01714542838, -1.851266516, -1.73601264]),
        ({"exponents": TEMPER}, [1.245115673, 0.2933889937, -1.830300285, -1.734375593]),
        ({"prior": False}, [1.608106265, -0.02081315757, -1.680432941, -1.542158849]),
    ],
    ids=["prior", "tempered", "no-prior"],
)
def test_products_are_the_tabulated_ones(options, expected):
    q = product_of_experts(LOC, LOG_VAR, ALL, **options)
    found = torch.cat([q.loc, q.log_var], -1)[0]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=2e-9)


@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("temper", [None, TEMPER])
def test_draws_and_divergence_are_those_of_the_gaussian(prior, temper):
    """The kernel that draws, against mean and log-variance as a plain Gaussian: values and slopes."""
    rng = torch.Generator().manual_seed(0)
    loc, log_var = torch.randn(2, 3, 4, 2, generator=rng)
    seen = torch.tensor([[1, 1, 1], [0, 1, 1], [1, 0, 0], [0, 0, 0]]).bool()
    leaves = [loc.requires_grad_(), log_var.requires_grad_()]
    leaves += [] if temper is None else [temper.clone().requires_grad_()]

    def outcome(whole):
        q = product_of_experts(*leaves[:2], seen, exponents=leaves[2] if temper is not None else None, prior=prior)
        q = Gaussian(q.loc, q.log_var) if whole else q
        torch.manual_seed(1)
        draw, divergence = q.rsample(), kl_divergence(q, standard_normal(2))
        value = (draw * torch.linspace(-1, 1, 8).reshape(4, 2)).sum() + divergence.square().sum()
        return [draw, divergence, *torch.autograd.grad(value, leaves)]

    torch.testing.assert_close(outcome(False), outcome(True), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("prior", [True, False])
def test_nothing_seen_is_the_prior_exactly(prior):
    seen = torch.tensor([[False] * 3, [True, False, False]])
    loc, log_var = LOC.expand(3, 2, 2), LOG_VAR.expand(3, 2, 2)
    q = product_of_experts(loc, log_var, seen, exponents=TEMPER, prior=prior)
    assert (q.loc[0] == 0).all() and (q.log_var[0] == 0).all()
    if not prior:  # an expert alone, to the power of a half: its mean, twice its variance
        torch.testing.assert_close(q.loc[1], LOC[0, 0], rtol=0, atol=1e-14)
        torch.testing.assert_close(q.log_var[1], LOG_VAR[0, 0] + math.log(2), rtol=0, atol=1e-14)
