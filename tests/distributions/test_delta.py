"""A point where anything is known, and the prior elsewhere: draws, densities, moments, and under plates."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch.distributions import kl_divergence

from mmppl import DeltaOrPrior, Gaussian
from mmppl.distributions.delta import is_deterministic

pytestmark = pytest.mark.usefixtures("float64")
KNOWN = torch.tensor([True, False, True])


@pytest.fixture
def made():
    prior = Gaussian(torch.tensor([1.0, 2.0]), torch.tensor([0.0, math.log(4.0)]))
    return DeltaOrPrior(torch.arange(6.0).reshape(3, 2), KNOWN, prior)


def test_rows_are_points_or_the_prior(made):
    z = made.rsample((20_000,))
    assert (z[:, KNOWN] == made.v[KNOWN]).all()
    own = z[:, 1]  # 20,000 draws: 5 standard errors of the means are .035 and .07, of the sds .025 and .05
    assert ((own.mean(0) - torch.tensor([1.0, 2.0])).abs() < torch.tensor([0.035, 0.07])).all()
    assert ((own.std(0) - torch.tensor([1.0, 2.0])).abs() < torch.tensor([0.025, 0.05])).all()
    assert made.mean.tolist() == [[0, 1], [1, 2], [4, 5]] and made.variance.tolist() == [[0, 0], [1, 4], [0, 0]]


def test_densities(made):
    at = torch.tensor([[0.0, 1.0], [0.0, 0.0], [4.0, 5.1]])
    found = made.log_prob(at)
    wanted = made.prior.log_prob(torch.zeros(2))
    assert found.tolist() == [0.0, pytest.approx(wanted.item()), -math.inf]


def test_uniforms_are_inverted(made):
    half = made.from_uniform(torch.full((4, 3, 2), 0.5))
    torch.testing.assert_close(half, made.mean.expand(4, 3, 2))


def test_in_plates_it_has_their_shape(made):
    def guide():
        with pyro.plate("draws", 4, dim=-2), pyro.plate("data", 3, dim=-1):
            return pyro.sample("z", made)

    site = poutine.trace(guide).get_trace().nodes["z"]
    assert site["value"].shape == (4, 3, 2) and site["fn"].log_prob(site["value"]).shape == (4, 3)
    assert len(site["value"][:, 1, 0].unique()) == 4 and is_deterministic(site["fn"])


def test_gradients_reach_the_codes():
    code = torch.randn(3, 2, requires_grad=True)
    made = DeltaOrPrior(code, KNOWN, Gaussian(torch.zeros(2), torch.zeros(2)))
    (slope,) = torch.autograd.grad(made.rsample().sum(), code)
    assert slope.tolist() == [[1, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("fn", "deterministic"),
    [
        (dist.Delta(torch.zeros(3, 2), event_dim=1), True),
        (dist.Delta(torch.zeros(3, 2)).to_event(1).expand([4, 3]), True),
        (dist.Normal(torch.zeros(3, 2), 1.0).to_event(1), False),
        (Gaussian(torch.zeros(3, 2), torch.zeros(3, 2)), False),
    ],
)
def test_what_has_a_density(fn, deterministic):
    assert is_deterministic(fn) == deterministic


def test_the_kl_to_the_prior_is_its_negative_log_density():
    point, prior = dist.Delta(torch.ones(3, 2), event_dim=1), Gaussian(torch.zeros(2), torch.zeros(2))
    torch.testing.assert_close(kl_divergence(point, prior), -prior.log_prob(torch.ones(2)).expand(3))
