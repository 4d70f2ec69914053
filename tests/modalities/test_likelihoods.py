"""Likelihoods as distributions: their draws have their moments, their scales come from where the schema says."""

import pytest
import torch

from mmppl import Batch, Likelihood, Modality, UsageError, likelihood, load_program, read
from mmppl.modalities.likelihoods.registry import LIKELIHOODS

RNG = torch.Generator().manual_seed(0)
CASES = [
    Modality("x", (2, 3), "bernoulli"),
    Modality("x", (2, 3), "normal", scale=0.3),
    Modality("x", (2, 3), "normal", scale="learned", log_scale=torch.linspace(-1, 1, 6)),
    Modality("x", (2, 3), "normal", scale="predicted"),
    Modality("x", (2, 3), "laplace"),
    Modality("x", (2, 3), "laplace", scale="learned", log_scale=torch.linspace(-1, 1, 6)),
]


@pytest.mark.parametrize("modality", CASES, ids=lambda m: f"{m.likelihood}-{m.scale}")
def test_draws_have_the_mean_and_variance(modality):
    """40,000 draws of 6 features: the bounds are 5 standard errors (kurtosis at most 6)."""
    output = torch.randn(1, modality.output_size, generator=RNG)
    d = LIKELIHOODS[modality.likelihood](modality, output)
    draws = d.expand(torch.Size([40_000])).from_uniform(torch.rand(40_000, 6, generator=RNG))
    assert draws.shape == (40_000, 2, 3) and d.mean.shape == d.variance.shape == (1, 2, 3)
    sd = d.variance.sqrt()
    assert ((draws.mean(0) - d.mean[0]).abs() < 5 * sd[0] / 200).all()
    assert ((draws.var(0) / d.variance[0] - 1).abs() < 5 * (5 / 40_000) ** 0.5 + 0.02).all()
    assert d.log_prob(draws[:1]).shape == (1,)


@pytest.mark.parametrize("modality", CASES, ids=lambda m: f"{m.likelihood}-{m.scale}")
def test_inverse_distribution_function_is_monotone(modality):
    d = LIKELIHOODS[modality.likelihood](modality, torch.randn(1, modality.output_size, generator=RNG))
    grid = torch.linspace(0, 1, 101).reshape(-1, 1, 1).expand(101, 1, 6)
    values = d.expand(torch.Size([101, 1])).from_uniform(grid)
    assert (values.diff(dim=0) >= 0).all() and values.isfinite().all()


def test_categorical_draws_follow_the_probabilities():
    word = Modality("w", (3,), "categorical", classes=("a", "b", "c", "d"))
    d = LIKELIHOODS[word.likelihood](word, torch.randn(1, 12, generator=RNG))
    draws = d.expand(torch.Size([40_000])).from_uniform(torch.rand(40_000, 3, generator=RNG))
    shares = torch.stack([(draws == k).float().mean(0) for k in range(4)], -1)
    assert d.probs.shape == (1, 3, 4) and (shares - d.probs[0]).abs().max() < 5 * 0.5 / 200


def test_a_learned_scale_belongs_to_its_program_and_learns():
    data = read("digits-three", as_={"profile": "normal:scale=learned"})
    program = load_program("mvae")(data.modalities, hidden=8, latent_dim=2)
    loss = program.objective(data.batch(torch.arange(32), program.encoded)).loss
    (gradient,) = torch.autograd.grad(loss, program.log_scales["profile"])
    assert gradient.shape == (32,) and (gradient != 0).all()
    assert program.modality("profile").log_scale is program.log_scales["profile"]
    assert data.modalities[1].log_scale is None  # the schema itself stays plain data


def test_a_wrong_decoder_width_and_an_unknown_name_are_named():
    with pytest.raises(ValueError, match="takes 12 decoder outputs, got 5"):
        LIKELIHOODS[CASES[3].likelihood](CASES[3], torch.zeros(1, 5))
    with pytest.raises(UsageError, match="Did you mean normal"):
        Modality("x", (2,), "norml").output_size  # noqa: B018


def test_a_users_own_likelihood_is_known_by_its_name():
    @likelihood("unit-normal")
    class UnitNormal(Likelihood):
        def log_prob(self, value):
            return -0.5 * (self._flat(value) - self.output).square().sum(-1)

    try:
        m = Modality("x", (2,), "unit-normal")
        assert LIKELIHOODS[m.likelihood](m, torch.zeros(1, 2)).log_prob(torch.ones(1, 2)).item() == -1
    finally:
        LIKELIHOODS.forget("unit-normal")


@pytest.mark.parametrize("scored", ["observed", "seen"])
@pytest.mark.parametrize("missing", [0.4, 1.0])
def test_a_density_that_is_infinite_at_zero_has_gradients_where_values_are_missing(scored, missing):
    """A log-normal of one's own: what stands for a missing value is never its 0, where ln x has no derivative."""

    @likelihood("log-normal")
    class LogNormal(Likelihood):
        def log_prob(self, value):
            log = self._flat(value).log()
            return (-0.5 * (log - self.output).square() - log).sum(-1)

    try:
        views = [Modality("a", (3,), "log-normal"), Modality("b", (2,), "normal")]
        torch.manual_seed(0)
        values = {"a": torch.rand(20, 3) + 0.1, "b": torch.randn(20, 2)}
        observed = {"a": torch.rand(20) >= missing, "b": torch.ones(20, dtype=torch.bool)}
        program = load_program("mvae")(views, hidden=8, latent_dim=2, scored=scored)
        found = []
        for filler in (0.0, torch.nan, -3.0):
            filled = values | {"a": torch.where(observed["a"].unsqueeze(-1), values["a"], filler)}
            torch.manual_seed(1)
            loss = program.objective(Batch(filled, observed, torch.arange(20), 20, ("a", "b"))).loss
            found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*program.parameters()])]))
        assert found[0].isfinite().all() and found[0].abs().sum() > 0
        assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    finally:
        LIKELIHOODS.forget("log-normal")


@pytest.mark.parametrize("modality", CASES, ids=lambda m: f"{m.likelihood}-{m.scale}")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_outputs_of_another_precision_are_scored(modality, dtype):
    """A decoder under bf16 autocast, or in float64 beside float32 data: scored in float32, or in float64."""
    output = torch.randn(5, modality.output_size, generator=RNG).to(dtype)
    x = torch.rand(5, 2, 3, generator=RNG)
    got = LIKELIHOODS[modality.likelihood](modality, output).log_prob(x)
    want = LIKELIHOODS[modality.likelihood](modality, output.float()).log_prob(x)
    assert got.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)
    torch.testing.assert_close(got.float(), want)
