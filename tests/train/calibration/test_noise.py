"""The factor of the noise against closed forms and an independent optimiser, in float64."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from mmppl.train.calibration.noise import LARGEST, PRIOR, Residuals, best_log_factors, noise_factors


def made(rows, features, factor, *, spread=0.0, seed=0):
    """Errors of a predictive whose noise (of variance 0.04) has to be multiplied by `factor`."""
    rng = torch.Generator().manual_seed(seed)
    latent = torch.full((rows, features), spread, dtype=torch.float64)
    noise = torch.full((rows, features), 0.04, dtype=torch.float64)
    sd = (latent + torch.as_tensor(factor, dtype=torch.float64) ** 2 * noise).sqrt()
    return Residuals((torch.randn(rows, features, generator=rng, dtype=torch.float64) * sd).square(), latent, noise)


@pytest.mark.parametrize("pooled", [False, True])
def test_without_spread_the_factor_is_the_root_mean_square(pooled):
    questions = [made(50, 3, torch.tensor([0.3, 1.0, 4.0])), made(50, 3, 2.0, seed=1)]
    found, information = best_log_factors(questions, pooled=pooled)
    square = torch.cat([q.squared / q.noise for q in questions])
    closed = square.mean() if pooled else square.mean(0)
    torch.testing.assert_close(found, 0.5 * closed.log(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(information, torch.full_like(found, 300.0 if pooled else 100.0))


def test_with_spread_it_is_that_of_a_scalar_optimiser():
    questions = [made(200, 4, 2.0, spread=0.05), made(150, 4, 1.5, spread=0.02, seed=1)]
    found, _ = best_log_factors(questions, pooled=False)
    for feature in range(4):

        def loss(c, feature=feature):
            total = 0.0
            for q in questions:
                variance = q.spread[:, feature].numpy() + np.exp(2 * c) * q.noise[:, feature].numpy()
                total += 0.5 * (q.squared[:, feature].numpy() / variance + np.log(variance)).sum()
            return total

        best = minimize_scalar(loss, bounds=(-LARGEST, LARGEST), method="bounded", options={"xatol": 1e-9}).x
        assert found[feature] == pytest.approx(best, abs=1e-5)


def test_nothing_to_gain_is_the_identity_and_a_gain_is_taken():
    """1,000 rows of the right noise: twice the gain is χ² with 1 degree of freedom, above 2 in 16 % of the seeds."""
    assert not noise_factors([made(1000, 1, 1.0)], shared=False).any()
    assert noise_factors([made(1000, 1, 2.0)], shared=False).exp() == pytest.approx(2.0, rel=0.1)


def test_few_rows_have_one_factor_and_a_small_one():
    few = noise_factors([made(10, 40, 3.0)], shared=False)
    assert len(few.unique()) == 1
    raw, information = best_log_factors([made(10, 40, 3.0)], pooled=True)
    assert few[0] == pytest.approx(float(raw / (1 + 1 / (information / 40 * PRIOR**2))))
    two = noise_factors([made(4, 1, 2.0)], shared=False)
    assert 0 <= two[0] < np.log(2.0)


def test_factors_of_features_are_shrunk_and_nearer_to_the_truth_than_their_own_estimates():
    truth = torch.linspace(1.8, 2.2, 200)
    questions = [made(60, 200, truth)]
    own, _ = best_log_factors(questions, pooled=False)
    shrunk = noise_factors(questions, shared=False)
    own_error, error = ((c - truth.log()).square().mean() for c in (own, shrunk))
    assert error < 0.6 * own_error


def test_a_feature_at_its_lower_bound_neither_moves_nor_counts():
    questions = made(100, 3, 2.0)
    at_bound = Residuals(questions.squared.clone(), questions.spread, questions.noise.clone())
    at_bound.noise[:, 1], at_bound.squared[:, 1] = 1e-6, 1e4
    found = noise_factors([at_bound], shared=False)
    alone = noise_factors([questions.of_features(torch.tensor([True, False, True]))], shared=False)
    assert found[1] == 0 and torch.equal(found[[0, 2]], alone)


def test_draws_that_are_few_leave_no_bias():
    """x ~ N(0, 1 + 0.25) with the latent's part drawn anew: on average over K = 4 draws no factor is asked for.

    40,000 rows: the log-factor's standard error is about .02.
    """
    rng = torch.Generator().manual_seed(0)
    means = torch.randn(4, 40_000, 1, generator=rng, dtype=torch.float64) * 0.5
    truth = torch.randn(40_000, 1, generator=rng, dtype=torch.float64) * (1 + 0.25) ** 0.5
    of = Residuals.of(means, torch.ones_like(means), truth)
    assert (of.spread.mean() / (0.25 * 1.25)).item() == pytest.approx(1, abs=0.02)
    assert best_log_factors([of], pooled=True)[0].abs() < 0.08
