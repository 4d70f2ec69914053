"""The mixture of products of experts against a loop over each row's own subsets."""

import math

import pytest
import torch
from scipy.stats import kstest
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from mmppl import all_subsets, mixture_of_products, standard_normal

pytestmark = pytest.mark.usefixtures("float64")
M, B, D = 3, 5, 2
RNG = torch.Generator().manual_seed(0)
LOC, LOG_VAR = torch.randn(2, M, B, D, generator=RNG, dtype=torch.float64)
SEEN = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 1, 1]]).bool()


def components(row, prior_expert, loc=LOC, log_var=LOG_VAR):
    """[(mean (D,), variance (D,))] of one row, by hand."""
    found = []
    for subset in all_subsets(M):
        if not (subset & SEEN[row]).equal(subset):
            continue
        precision, shift = torch.zeros(D), torch.zeros(D)
        for m in subset.nonzero().flatten().tolist():
            precision, shift = (
                precision + torch.exp(-log_var[m, row]),
                shift + torch.exp(-log_var[m, row]) * loc[m, row],
            )
        if prior_expert == "always" or (prior_expert == "full" and subset.equal(SEEN[row])):
            precision = precision + 1
        found.append((shift / precision, 1 / precision))
    return found or [(torch.zeros(D), torch.ones(D))]


def by_hand(row, prior_expert):
    mean, variance = (torch.stack(t) for t in zip(*components(row, prior_expert)))
    return MixtureSameFamily(Categorical(torch.ones(len(mean))), Independent(Normal(mean, variance.sqrt()), 1))


@pytest.mark.parametrize("prior_expert", ["full", "always", "never"])
def test_density_and_moments_are_those_of_the_rows_own_components(prior_expert):
    q = mixture_of_products(LOC, LOG_VAR, SEEN, prior_expert=prior_expert)
    z = torch.randn(7, B, D, generator=RNG)
    for row in range(B):
        want = by_hand(row, prior_expert)
        torch.testing.assert_close(q.log_prob(z)[:, row], want.log_prob(z[:, row]), rtol=0, atol=1e-10)
        torch.testing.assert_close(q.mean[row], want.mean, rtol=0, atol=1e-10)
        torch.testing.assert_close(q.variance[row], want.variance, rtol=0, atol=1e-10)


@pytest.mark.parametrize("prior_expert", ["full", "always", "never"])
def test_the_kl_bound_is_the_mean_over_the_components(prior_expert):
    leaves = [t.clone().requires_grad_() for t in (LOC, LOG_VAR)]
    got = kl_divergence(mixture_of_products(*leaves, SEEN, prior_expert=prior_expert), standard_normal(D))
    want = torch.stack(
        [
            torch.stack(
                [0.5 * (m * m + v - v.log() - 1).sum() for m, v in components(row, prior_expert, *leaves)]
            ).mean()
            for row in range(B)
        ]
    )
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
    slopes = torch.linspace(-1, 1, B)
    mine, other = (torch.autograd.grad(k, leaves, slopes) for k in (got, want))
    torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


def test_the_bound_is_above_the_divergence():
    """By 100,000 draws a row; the standard error of the difference is below 0.01, its size above 0.1."""
    q = mixture_of_products(LOC, LOG_VAR, SEEN)
    torch.manual_seed(0)
    z = q.rsample((100_000,))
    divergence = (q.log_prob(z) - standard_normal(D).log_prob(z)).mean(0)
    gap = kl_divergence(q, standard_normal(D)) - divergence
    several = SEEN.sum(-1) > 1
    assert (gap[several] > 0.1).all() and (gap[~several].abs() < 0.05).all()


@pytest.mark.parametrize("way", ["rsample", "from_uniform"])
def test_draws_follow_the_density(way):
    """Kolmogorov-Smirnov on each row and dimension, 10 tests, each at 1e-4: one false alarm in 1,000 runs."""
    q, n = mixture_of_products(LOC, LOG_VAR, SEEN), 4000
    torch.manual_seed(1)
    z = q.rsample((n,)) if way == "rsample" else q.from_uniform(torch.rand(n, B, q.uniforms))
    for row in range(B):
        parts = components(row, "full")
        for d in range(D):

            def cdf(x, parts=parts, d=d):
                x = torch.as_tensor(x)
                return torch.stack([Normal(m[d], v[d].sqrt()).cdf(x) for m, v in parts]).mean(0).numpy()

            assert kstest(z[:, row, d].numpy(), cdf).pvalue > 1e-4


def test_draws_are_reparametrised_within_their_component():
    """With its noise fixed, a draw moves with the parameters as its component's mean and sd do."""

    def draw(loc, log_var):
        torch.manual_seed(2)
        return mixture_of_products(loc, log_var, SEEN).rsample()

    leaves = [t.clone().requires_grad_() for t in (LOC, LOG_VAR)]
    assert torch.autograd.gradcheck(draw, leaves)


def test_nothing_seen_is_the_prior():
    q = mixture_of_products(LOC, LOG_VAR, torch.zeros(B, M, dtype=torch.bool))
    z = torch.randn(4, B, D, generator=RNG)
    torch.testing.assert_close(q.log_prob(z), standard_normal(D).log_prob(z), rtol=0, atol=1e-12)
    assert (q.mean == 0).all() and (q.variance == 1).all()


def test_what_lies_under_the_mask_does_not_matter():
    def all_of(loc, log_var):
        leaves = [t.clone().requires_grad_() for t in (loc, log_var)]
        q = mixture_of_products(*leaves, SEEN)
        torch.manual_seed(3)
        z = q.rsample()
        value = q.log_prob(z).sum() + kl_divergence(q, standard_normal(D)).sum()
        slopes = torch.autograd.grad(value, leaves)
        return [z, value, *(torch.where(SEEN.T.unsqueeze(-1), s, 0.0) for s in slopes)]

    under = ~SEEN.T.unsqueeze(-1)
    want = all_of(LOC, LOG_VAR)
    got = all_of(torch.where(under, math.nan, LOC), torch.where(under, math.nan, LOG_VAR))
    assert all(torch.equal(a, b) for a, b in zip(got, want))


def test_a_uniform_of_one_takes_the_last_of_the_rows_own_components():
    u = torch.full((B, D + 1), 0.5)
    u[:, 0] = 1.0
    z = mixture_of_products(LOC, LOG_VAR, SEEN, prior_expert="never").from_uniform(u)
    for row in range(B):
        torch.testing.assert_close(z[row], components(row, "never")[-1][0])


def test_shapes_that_disagree_are_named():
    with pytest.raises(ValueError, match=r"expected loc \(M, B, D\).*makes all subsets itself"):
        mixture_of_products(LOC, LOG_VAR, SEEN.expand(7, B, M))
