"""Likelihoods of counts, Student's t and the Beta as distributions: quantiles, moments, size factors and bounds."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats
import torch

import mmppl
from mmppl import Modality, UsageError
from mmppl.data.schema.schema_file import schema_text
from mmppl.modalities.likelihoods.counts.quantiles import count_quantile
from mmppl.modalities.scaling import Scaling

RNG = torch.Generator().manual_seed(0)
INVERSE = {"log_inverse_dispersion": torch.tensor([-0.1, 0.0, 0.1, 0.2, 0.05, 0.3])}  # times 10: logs of r
STUDENT = {"log_scale": torch.linspace(-0.1, 0.1, 6), "log_degrees": torch.linspace(0.1, 0.3, 6)}
CASES = [
    Modality("x", (2, 3), "poisson"),
    Modality("x", (2, 3), "nb", learned=INVERSE),
    Modality("x", (2, 3), "nb", scale="shared", learned={"log_inverse_dispersion": torch.tensor(0.1)}),
    Modality("x", (2, 3), "nb", scale=0.7),
    Modality("x", (2, 3), "zinb", learned=INVERSE),
    Modality("x", (2, 3), "student", learned=STUDENT),
    Modality("x", (2, 3), "student", df=6.0, learned={"log_scale": STUDENT["log_scale"]}),
    Modality("x", (2, 3), "beta", learned={"log_concentration": torch.linspace(0.2, 0.5, 6)}),
    Modality("x", (2, 3), "beta", scale=12.0),
]
named = pytest.mark.parametrize("m", CASES, ids=lambda m: f"{m.likelihood}-{m.scale}")


def of(m, *lead):
    return m.family(m, torch.randn(*lead, m.output_size, generator=RNG))


@named
def test_draws_have_the_mean_and_variance(m):
    """20,000 stratified draws of 6 features, whose own error is far below that of independent ones: the bounds are 5
    standard errors of a mean, and 12 % of a variance (the fourth moment of a t with ν = 4.7 is large, not infinite)."""
    d = of(m, 1)
    u = (torch.arange(20_000, dtype=torch.float64).reshape(-1, 1, 1) + 0.5) / 20_000
    draws = d.expand(torch.Size([20_000, 1])).from_uniform(u.expand(-1, 1, 6))
    assert draws.shape == (20_000, 1, 2, 3) and d.mean.shape == d.variance.shape == (1, 2, 3)
    assert ((draws.mean(0) - d.mean).abs() < 5 * (d.variance / 20_000).sqrt()).all()
    assert ((draws.var(0) / d.variance - 1).abs() < 0.12).all()
    assert d.support.check(draws).all()


@named
def test_inverse_distribution_function_is_monotone(m):
    grid = torch.linspace(0, 1, 101).reshape(-1, 1, 1).expand(101, 1, 6)
    values = of(m, 1).expand(torch.Size([101, 1])).from_uniform(grid)
    assert (values.diff(dim=0) >= 0).all() and values.isfinite().all()
    if m.family.values == "counts":
        assert torch.equal(values, values.round())


@named
def test_log_probabilities_are_those_of_the_draws(m):
    """The derivative of the distribution function of a density, and the steps of that of a count."""
    d = m.family(m, torch.randn(1, m.output_size, generator=RNG, dtype=torch.float64))
    if m.family.values == "counts":
        counts = torch.arange(3000.0, dtype=torch.float64).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 3)
        each = d.expand(torch.Size([3000, 1])).of_elements(torch.eye(6, dtype=torch.bool)[0].reshape(1, 2, 3))
        assert each.log_prob(counts).exp().sum() == pytest.approx(1, abs=1e-6)
        return
    low, high = 0.3, 0.6
    ends = [d.from_uniform(torch.full((1, 6), p, dtype=torch.float64)) for p in (low, high)]
    share = torch.linspace(0, 1, 2001, dtype=torch.float64).reshape(-1, 1, 1, 1)
    points = ends[0] + share * (ends[1] - ends[0])
    for k in range(6):
        there = torch.eye(6, dtype=torch.bool)[k].reshape(1, 2, 3)
        density = d.expand(torch.Size([2001, 1])).of_elements(there).log_prob(points).exp()
        at = points.flatten(1)[:, k]
        assert torch.trapezoid(density[:, 0], at).item() == pytest.approx(high - low, abs=1e-5)


@pytest.mark.parametrize("mean", [1e-9, 0.3, 7.0, 63.9, 64.0, 900.0, 3e7])
def test_quantiles_reach_the_probability_and_not_one_before(mean):
    p = torch.tensor([1e-9, 0.01, 0.05, 0.5, 0.77, 0.95, 0.999, 1 - 1e-7], dtype=torch.float64)
    for dispersion in (0.0, 1e-4, 0.3, 8.0):
        got = count_quantile(p, torch.tensor(mean, dtype=torch.float64), dispersion).numpy()
        law = (
            scipy.stats.nbinom(1 / dispersion, 1 / (1 + dispersion * mean)) if dispersion else scipy.stats.poisson(mean)
        )
        assert (law.cdf(got) >= p.numpy() * (1 - 1e-9)).all()  # reached there, and not one before
        assert ((law.cdf(got - 1) < p.numpy() * (1 + 1e-9)) | (got == 0)).all()


def sized(likelihood="nb", **more):
    scaling = Scaling("log1p", (math.log1p(2.0), math.log1p(5.0), math.log1p(1.0)), (1.0, 1.0, 1.0))
    return Modality("x", (3,), likelihood, input_scaling=scaling, size_factor=(1.5, 0.8), **more)


def test_a_size_factor_scales_the_means_and_scores_the_total():
    """ln p(total) + Σ ln NB(x | s c e^output), with s of the elements that a row has, against SciPy."""
    m = sized(scale=2.0)
    output = torch.tensor([[0.2, -0.1, 0.4]], dtype=torch.float64).expand(3, 3)
    x = torch.tensor([[20.0, 50.0, 10.0], [0.0, 0.0, 0.0], [20.0, 1e30, 10.0]], dtype=torch.float64)
    present = torch.tensor([[True, True, True], [True, True, True], [True, False, True]])
    centre = np.array([2.0, 5.0, 1.0])
    got = m.family(m, output).of_elements(present).log_prob(x)
    for row in range(3):
        there = present[row].numpy()
        expected, total = centre[there].sum(), x[row].numpy()[there].sum()
        mean = max(total, 0.5) / expected * centre * np.exp(output[row].numpy())
        want = scipy.stats.nbinom.logpmf(x[row].numpy()[there], 2.0, 2 / (2 + mean[there])).sum()
        want += scipy.stats.nbinom.logpmf(total, 1 / 0.8, 1 / (1 + 0.8 * 1.5 * expected))
        assert got[row].item() == pytest.approx(want, rel=1e-9)
    mask = torch.tensor([True, False, True])
    masked = m.family(m, output).of_elements(present).log_prob(x, mask)
    torch.testing.assert_close(masked, torch.where(mask, got, 0.0))


@pytest.mark.parametrize("likelihood", ["poisson", "nb"])
def test_draws_of_an_unknown_size_spread_as_sizes_do(likelihood):
    """Moments against a simulation of sizes (gamma of their mean and spread) and counts; 5 standard errors, and 5 % of
    the variance."""
    m = sized(likelihood, **({} if likelihood == "poisson" else {"scale": 2.0}))
    d = m.family(m, torch.zeros(1, 3, dtype=torch.float64))
    rng = np.random.default_rng(0)
    mean = rng.gamma(1 / 0.8, 0.8 * 1.5, (400_000, 1)) * np.array([2.0, 5.0, 1.0])
    counts = rng.poisson(mean if likelihood == "poisson" else mean * rng.gamma(2.0, 0.5, mean.shape))
    np.testing.assert_allclose(d.mean[0], counts.mean(0), atol=5 * (counts.std(0) / 400_000**0.5).max())
    np.testing.assert_allclose(d.variance[0], counts.var(0), rtol=0.05)


def test_what_is_outside_the_bounds_stays_finite():
    for m in CASES:
        for far in (-1e6, 1e6):
            d = m.family(m, torch.full((1, m.output_size), far))
            assert all(t.isfinite().all() for t in (d.mean, d.variance, d.from_uniform(torch.full((1, 6), 0.5))))


def test_a_beta_takes_what_rounding_leaves_and_refuses_more():
    beta = Modality("x", (2,), "beta").family
    np.testing.assert_array_equal(beta.as_stored(np.array([-0.004, 0.3, 1.003, 1.2])), [0, 0.3, 1, 1.2])
    wrong, why = beta.illegal(np.array([0.0, 1.0, 1.2, -0.1]))
    assert wrong.tolist() == [False, False, True, True] and "lies outside [0, 1], where a Beta lives" in why


def test_a_student_refuses_logs_of_counts():
    with pytest.raises(UsageError, match="choose nb, or --as x=student:transform=standardise"):
        Modality("x", (2,), "student", transform="log1p")
    assert Modality("x", (2,), "student").family.transforms("log1p")[0] == "standardise"


def test_degrees_of_freedom_can_be_fixed(float64):
    """They are the data's own beside `df`, are not learned, and go through a schema file and a run's schema."""
    x = np.random.default_rng(0).standard_t(4, (60, 3))
    (m,) = mmppl.read({"x": x}, as_={"x": "student:df=4,scale=shared"}).modalities
    assert m.df == 4 and Modality.from_json(m.to_json()) == m and list(m.family.parameters(m)) == ["log_scale"]
    bound = dataclasses.replace(m, learned={"log_scale": torch.tensor(0.05)})
    law = scipy.stats.t(4, scale=math.exp(0.5))
    found = m.family(bound, torch.zeros(60, 3)).log_prob(torch.from_numpy(x))
    np.testing.assert_allclose(found, law.logpdf(x).sum(1), rtol=1e-12)
    at = m.family(bound, torch.zeros(1, 3)).from_uniform(torch.full((1, 3), 0.9))
    np.testing.assert_allclose(at, law.ppf(0.9), rtol=1e-12)
    assert "df = 4.0" in schema_text(mmppl.read({"x": x}, as_={"x": "student:df=4"}))


@pytest.mark.parametrize(
    "how, why", [("student:df=2", "above 2"), ("student:df=x", "no positive"), ("normal:df=4", "no key 'df'")]
)
def test_degrees_of_freedom_that_cannot_be(how, why):
    with pytest.raises(UsageError, match=why):
        mmppl.read({"x": np.random.default_rng(0).normal(size=(60, 3))}, as_={"x": how})
