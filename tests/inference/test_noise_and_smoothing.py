"""Keyed noise against known answers of Philox, and Pareto smoothing against tails of known shape."""

import numpy as np
import pytest
import torch
from scipy import stats

from mmppl.inference.keyed_noise import row_keys, uniforms
from mmppl.inference.psis import pareto_fit, smooth


def test_a_rows_noise_depends_on_its_id_alone():
    ids = np.array([5, 900, 5_000_000_000, -3])
    noise = uniforms(0, "z", row_keys(ids), 8, 5)
    assert torch.equal(uniforms(0, "z", row_keys(ids[[2, 0]]), 8, 5), noise[:, [2, 0]])
    assert torch.equal(uniforms(0, "z", row_keys(ids), 3, 5), noise[:3])
    assert not torch.equal(uniforms(1, "z", row_keys(ids), 8, 5), noise)
    assert not torch.equal(uniforms(0, "w", row_keys(ids), 8, 5), noise)
    assert len(np.unique(uniforms(0, "z", row_keys(np.array(["a", "b"])), 8, 5).numpy())) == 80


def test_keyed_noise_is_uniform():
    """Kolmogorov-Smirnov on 10⁵ numbers along rows, draws and dimensions; each fails by chance once in 10,000."""
    for rows, draws, size in ((100_000, 1, 1), (10, 10_000, 1), (10, 10, 1000)):
        u = uniforms(0, "z", row_keys(np.arange(rows)), draws, size, torch.float64).flatten().numpy()
        assert stats.kstest(u, "uniform").pvalue > 1e-4
        assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / len(u) ** 0.5


@pytest.mark.parametrize("shape", [-0.3, 0.2, 0.7, 1.2])
def test_pareto_fit_finds_shape_and_scale(shape):
    """200 tails of 500 excesses: the mean of k̂ has a standard error below 0.005; the prior pulls it 2 % towards 0.5."""
    excess = stats.genpareto.rvs(shape, scale=2.0, size=(500, 200), random_state=0)
    k, sigma = pareto_fit(torch.from_numpy(np.sort(excess, 0)))
    assert k.mean().item() == pytest.approx((500 * shape + 5) / 510, abs=0.03)
    assert sigma.mean().item() == pytest.approx(2.0, rel=0.05)


def test_smoothing_keeps_what_is_even_and_flags_what_is_not():
    even = smooth(torch.zeros(100, 2))
    assert (even.khat == 0).all() and (even.ess - 100).abs().max() < 1e-9
    rng = np.random.default_rng(0)
    heavy = smooth(torch.from_numpy(rng.pareto(0.8, size=(4000, 3))).log())  # tail index 0.8: k = 1.25
    assert (heavy.khat > 0.9).all() and torch.allclose(heavy.weights.sum(0), torch.ones(3).double())
    light = smooth(torch.from_numpy(0.3 * rng.standard_normal((4000, 3))))
    assert (light.khat < 0.5).all() and (light.ess > 3000).all()
    assert smooth(torch.zeros(10, 1)).khat.isnan().all()  # too few draws for a tail


def test_rounding_has_no_tail():
    """The same noise is fitted where it is larger than rounding, and counts as equal weights where it is not."""
    noise = 1e-4 * torch.from_numpy(stats.t.rvs(1.5, size=(1000, 4), random_state=0))
    span = noise.max(0).values - noise.min(0).values
    assert (smooth(noise).khat > 0.3).all() and torch.equal(smooth(noise, span * 0.99).khat, smooth(noise).khat)
    equal = smooth(noise, span * 1.01)
    assert (equal.khat == 0).all() and torch.equal(equal.weights, torch.softmax(noise, 0))
    assert smooth(torch.full((100, 1), torch.nan), torch.ones(1)).khat.isnan().all()
