"""A Gaussian with a full covariance, and the posterior of linear views, against PyTorch's and a sum over features."""

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from mmppl import CorrelatedGaussian, LinearView, linear_posterior, standard_normal

D, ROWS, SIZES = 3, 6, (4, 2)
SEEN = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 0]]).bool()


@pytest.fixture
def views():
    rng = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    known = torch.rand(ROWS, SIZES[0], generator=rng) < 0.6
    made = [LinearView(draw(ROWS, d), draw(d, D), draw(d), draw(d).exp()) for d in SIZES]
    return [LinearView(made[0].x, made[0].weight, made[0].offset, made[0].variance, known), made[1]]


def one_by_one(views, seen, row):
    """Mean and covariance of a row's posterior, one observed feature after the other."""
    precision, shift = torch.eye(D, dtype=torch.float64), torch.zeros(D, dtype=torch.float64)
    for view, shown in zip(views, seen[row]):
        for j in range(len(view.offset)):
            if shown and (view.elements is None or view.elements[row, j]):
                w = view.weight[j]
                precision = precision + torch.outer(w, w) / view.variance[j]
                shift = shift + w * (view.x[row, j] - view.offset[j]) / view.variance[j]
    covariance = torch.linalg.inv(precision)
    return covariance @ shift, covariance


def test_posterior_density_and_kl_are_exact_for_every_subset_and_element(views):
    subsets = torch.stack([SEEN, ~SEEN])
    q = linear_posterior(views, subsets, D)
    z = torch.randn(5, 2, ROWS, D, dtype=torch.float64)
    log_q, kl = q.expand((5, 2, ROWS)).log_prob(z), kl_divergence(q, standard_normal(D))
    for s, seen in enumerate(subsets):
        for row in range(ROWS):
            mean, covariance = one_by_one(views, seen, row)
            torch.testing.assert_close(q.mean[s, row], mean)
            torch.testing.assert_close(q.covariance[s, row], covariance)
            torch.testing.assert_close(q.variance[s, row], covariance.diagonal())
            exact = MultivariateNormal(mean, covariance)
            torch.testing.assert_close(log_q[:, s, row], exact.log_prob(z[:, s, row]))
            prior = MultivariateNormal(torch.zeros_like(mean), torch.eye(D, dtype=torch.float64))
            torch.testing.assert_close(kl[s, row], kl_divergence(exact, prior))
            along = (views[0].weight @ covariance * views[0].weight).sum(-1)
            torch.testing.assert_close(q.variance_along(views[0].weight)[s, row], along)


def test_draws_have_the_moments(views):
    """6 rows × 9 covariances of 40,000 draws: 5 standard errors are exceeded by chance once in 30,000 runs."""
    n = 40_000
    q = linear_posterior(views, SEEN, D)
    for draws in (q.expand((n, ROWS)).rsample(), q.from_uniform(torch.rand(n, ROWS, D, dtype=torch.float64))):
        assert ((draws.mean(0) - q.mean).abs() < 5 * (q.variance / n).sqrt()).all()
        centred = draws - q.mean
        found = torch.einsum("nbk,nbl->bkl", centred, centred) / n
        product = q.variance.unsqueeze(-1) * q.variance.unsqueeze(-2) + q.covariance.square()
        assert ((found - q.covariance).abs() < 5 * (product / n).sqrt()).all()
    mirrored = q.antithetic(8)
    torch.testing.assert_close(mirrored.mean(0), q.mean)
    assert torch.equal(mirrored, q.antithetic(8))


def test_what_lies_under_a_mask_changes_no_bit(views):
    clean = linear_posterior(views, SEEN, D)
    filled = []
    for m, view in enumerate(views):
        known = SEEN[:, m : m + 1] & (True if view.elements is None else view.elements)
        x = torch.where(known, view.x, torch.nan)
        filled.append(LinearView(x, view.weight, view.offset, view.variance, view.elements))
    again = linear_posterior(filled, SEEN, D)
    assert torch.equal(clean.mean, again.mean) and torch.equal(clean.covariance, again.covariance)


def test_nothing_seen_is_exactly_the_prior(views):
    q = linear_posterior(views, torch.zeros_like(SEEN), D)
    assert torch.equal(q.mean, torch.zeros_like(q.mean)) and torch.equal(q.variance, torch.ones_like(q.variance))


def test_draws_and_densities_are_in_the_asked_precision(views):
    q = linear_posterior(views, SEEN, D, torch.float32)
    z = q.rsample()
    assert {z.dtype, q.mean.dtype, q.variance.dtype, q.log_prob(z).dtype} == {torch.float32}
    assert isinstance(q.expand((2, ROWS)), CorrelatedGaussian)
