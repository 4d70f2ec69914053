"""Mixtures of experts and of products of experts against a loop over each row's own components."""

import math

import pytest
import torch
from scipy.stats import kstest
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from mmppl import Gaussian, Laplace, all_subsets, mixture_of_experts, mixture_of_products, standard_normal

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
        if prior_expert == "always" or (prior_expert == "full" and subset.all()):
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


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_means_that_are_far_off_together_cost_no_digits(offset):
    """Experts as narrow as encoders make them, in float32."""
    loc = offset + 1e-3 * LOC.float()
    q = mixture_of_products(loc, torch.full_like(loc, -12.0), SEEN, prior_expert="never")
    z = q.rsample()
    of_each = Gaussian(q.components.loc.double(), q.components.log_var.double()).log_prob(z.double())
    want = torch.logsumexp(of_each + q.log_weight, -2)
    torch.testing.assert_close(q.log_prob(z).double(), want, rtol=1e-5, atol=1e-3)


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


# --- mixtures of single experts: Normal, and Laplace with scale e^(log_var / 2)

FAMILIES = ["normal", "laplace"]
SPREAD = torch.tensor([0.7, 1.3], dtype=torch.float64)  # of the prior


def of_experts(family, loc=LOC, log_var=LOG_VAR, seen=SEEN):
    if family == "normal":
        return mixture_of_experts(Gaussian(loc, log_var), seen, Gaussian(torch.zeros(D), 2 * SPREAD.log()))
    return mixture_of_experts(Laplace(loc, (log_var / 2).exp()), seen, Laplace(torch.zeros(D), SPREAD))


def experts_by_hand(row, family):
    """A row's own experts, or the prior, in torch's distributions: batch shape (n, D)."""
    own = SEEN[row].nonzero().flatten()
    loc, spread = (LOC[own, row], (LOG_VAR[own, row] / 2).exp()) if len(own) else (torch.zeros(1, D), SPREAD[None])
    return (Normal if family == "normal" else torch.distributions.Laplace)(loc, spread)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixture_of_experts_has_the_density_and_moments_of_the_rows_own(family):
    q, z = of_experts(family), torch.randn(7, B, D, generator=RNG)
    for row in range(B):
        parts = experts_by_hand(row, family)
        want = MixtureSameFamily(Categorical(torch.ones(len(parts.mean))), Independent(parts, 1))
        torch.testing.assert_close(q.log_prob(z)[:, row], want.log_prob(z[:, row]), rtol=0, atol=1e-10)
        torch.testing.assert_close(q.mean[row], want.mean, rtol=0, atol=1e-10)
        torch.testing.assert_close(q.variance[row], want.variance, rtol=0, atol=1e-10)
    z = torch.tensor([[0.7, -0.2]])
    tabulated = (
        torch.tensor([[[1, -0.5]], [[2, 0.3]], [[-1, 0.8]]]),
        torch.tensor([[0, -1], [math.log(0.25), 0.5], [1, -0.3]]),
    )
    three = mixture_of_experts(
        Gaussian(tabulated[0], tabulated[1][:, None]), torch.ones(1, 3).bool(), standard_normal(2)
    )
    assert three.log_prob(z).item() == pytest.approx(-2.432853254, abs=1e-8)


@pytest.mark.parametrize("way", ["rsample", "from_uniform", "stratified"])
@pytest.mark.parametrize("family", FAMILIES)
def test_draws_of_a_mixture_of_experts_follow_the_density(family, way):
    """Kolmogorov-Smirnov on each row and dimension, 10 tests, each at 1e-4: one false alarm in 1,000 runs."""
    q, n = of_experts(family), 4000
    torch.manual_seed(1)
    if way == "stratified":
        z = q.stratified(n // M).unflatten(0, (-1, M))
        rows = [z[:, SEEN[row], row].flatten(0, 1) for row in range(B)]
    else:
        z = q.rsample((n,)) if way == "rsample" else q.from_uniform(torch.rand(n, B, q.uniforms))
        rows = list(z.unbind(1))
    for row in range(B):
        parts = experts_by_hand(row, family)
        for d in range(D):

            def cdf(x, parts=parts, d=d):
                return parts.cdf(torch.as_tensor(x)[:, None, None])[..., d].mean(-1).numpy()

            assert not len(rows[row]) or kstest(rows[row][:, d].numpy(), cdf).pvalue > 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_of_a_mixture_of_experts_are_reparametrised_within_their_component(family):
    def draw(loc, log_var):
        torch.manual_seed(2)
        q = of_experts(family, loc, log_var)
        return q.rsample(), q.stratified(2)

    assert torch.autograd.gradcheck(draw, [t.clone().requires_grad_() for t in (LOC, LOG_VAR)])


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_seen_is_the_mixtures_prior(family):
    q = of_experts(family, LOC * math.nan, LOG_VAR, torch.zeros(B, M, dtype=torch.bool))
    prior = Gaussian(torch.zeros(D), 2 * SPREAD.log()) if family == "normal" else Laplace(torch.zeros(D), SPREAD)
    z = torch.randn(4, B, D, generator=RNG)
    torch.testing.assert_close(q.log_prob(z), prior.log_prob(z), rtol=0, atol=1e-12)
    u = torch.rand(4, B, D + 1, generator=RNG)
    assert torch.equal(q.from_uniform(u), prior.expand((4, B)).from_uniform(u[..., 1:]))
    assert torch.equal(q.mean, torch.zeros(B, D)) and torch.equal(q.variance, prior.variance.expand(B, D))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_lies_under_the_mask_of_a_mixture_of_experts_does_not_matter(family):
    def all_of(loc, log_var):
        leaves = [t.clone().requires_grad_() for t in (loc, log_var)]
        q = of_experts(family, *leaves)
        torch.manual_seed(3)
        z = q.rsample()
        value = q.log_prob(z).sum() + q.detach().log_prob(q.stratified(2)).sum()
        return [z, value, q.mean, q.variance, *torch.autograd.grad(value, leaves)]

    under = ~SEEN.T.unsqueeze(-1)
    want = all_of(LOC, LOG_VAR)
    got = all_of(torch.where(under, math.nan, LOC), torch.where(under, math.nan, LOG_VAR))
    if family == "laplace":  # its scale is made of the log-variance here: 0 · NaN on the way to that leaf
        want[-1], got[-1] = (torch.where(under, 0.0, slope) for slope in (want[-1], got[-1]))
    assert all(torch.equal(a, b) for a, b in zip(got, want))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_uniform_that_was_rounded_to_one_chooses_one_of_the_rows_own(family):
    q = of_experts(family)
    u = torch.full((B, D + 1), 0.5)
    u[:, 0] = 1.0
    last = [int(own.nonzero().max()) if own.any() else None for own in SEEN]
    want = [torch.zeros(D) if m is None else LOC[m, row] for row, m in enumerate(last)]
    torch.testing.assert_close(q.from_uniform(u), torch.stack(want), rtol=0, atol=1e-12)
    q = mixture_of_products(LOC, LOG_VAR, SEEN, prior_expert="never")
    torch.testing.assert_close(q.from_uniform(u)[2], LOC[1, 2], rtol=0, atol=1e-12)
