"""Likelihoods as distributions: their draws have their moments, their scales come from where the schema puts them."""

import numpy as np
import pytest
import torch

from mmppl import Batch, Likelihood, Modality, UsageError, likelihood, load_program, read
from mmppl.modalities.array_facts import Claim
from mmppl.modalities.likelihoods.registry import LIKELIHOODS
from mmppl.modalities.transforms import TRANSFORMS

RNG = torch.Generator().manual_seed(0)
CASES = [
    Modality("x", (2, 3), "bernoulli"),
    Modality("x", (2, 3), "normal", scale=0.3),
    Modality("x", (2, 3), "normal", scale="learned", learned={"log_scale": torch.linspace(-1, 1, 6)}),
    Modality("x", (2, 3), "normal", scale="predicted"),
    Modality("x", (2, 3), "laplace", scale=0.75),
    Modality("x", (2, 3), "laplace", scale="learned", learned={"log_scale": torch.linspace(-1, 1, 6)}),
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
    (gradient,) = torch.autograd.grad(loss, program.likelihood_parameters["profile"]["log_scale"])
    assert gradient.shape == (32,) and (gradient != 0).all()
    assert program.modality("profile").learned is program.likelihood_parameters["profile"]
    assert data.modalities[1].learned is None  # the schema itself stays plain data


def test_a_wrong_decoder_width_and_an_unknown_name_are_named():
    with pytest.raises(ValueError, match="takes 12 decoder outputs, got 5"):
        LIKELIHOODS[CASES[3].likelihood](CASES[3], torch.zeros(1, 5))
    with pytest.raises(UsageError, match="Did you mean normal"):
        Modality("x", (2,), "norml").output_size  # noqa: B018


class UnitNormal(Likelihood):
    """A user's own, with all that is required."""

    values = "numbers"
    mean = property(lambda self: self._event(self.output))
    variance = property(lambda self: torch.ones_like(self.mean))

    def log_prob(self, value):
        return -0.5 * (self._flat(value) - self.output).square().sum(-1)

    def from_uniform(self, u):
        return self._event(self.output + torch.special.ndtri(u))


def test_a_users_own_likelihood_is_known_by_its_name():
    likelihood("unit-normal")(UnitNormal)
    try:
        m = Modality("x", (2,), "unit-normal")
        assert LIKELIHOODS[m.likelihood](m, torch.zeros(1, 2)).log_prob(torch.ones(1, 2)).item() == -1
        with pytest.raises(UsageError, match="likelihood 'unit-normal' is registered already; choose another name"):
            likelihood("unit-normal")(UnitNormal)
        with pytest.raises(UsageError, match="likelihood 'normal' is registered already"):
            likelihood("normal")(UnitNormal)
    finally:
        LIKELIHOODS.forget("unit-normal")


class OfCounts(UnitNormal):
    values = "counts"


class OfClasses(UnitNormal):
    values = "classes"


class OfNothing(Likelihood):
    def log_prob(self, value):
        return value


class Silent(Likelihood):
    values = "counts"


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (OfNothing, 'lacks values = "numbers", "counts" or "classes"; add'),
        (OfClasses, "lacks probs, of each class; add"),
        (Silent, r"lacks log_prob\(value\), nats of each row, from_uniform\(u\), .*, mean, variance; add"),
        (torch.distributions.Poisson, "lacks the base class mmppl.Likelihood; add"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_likelihood_without_a_required_part_is_refused(cls, says):
    with pytest.raises(UsageError, match=f"likelihood 'half' {says}"):
        likelihood("half")(cls)
    assert "half" not in LIKELIHOODS


def test_counts_and_classes_are_scored_as_they_are():
    """Whatever the type of an array suggests; numbers take what it suggests, or what the user says."""
    assert OfCounts.transforms("log1p") == OfClasses.transforms("log1p") == ("none",)
    assert UnitNormal.transforms("log1p")[0] == "log1p" and {*UnitNormal.transforms("log1p")} == {*TRANSFORMS}
    wrong, why = OfCounts.illegal(np.array([0.0, 3.0, -1.0, 2.5]))
    assert wrong.tolist() == [False, False, True, True] and "whole number from 0 on" in why
    back = np.float32(np.expm1(np.log1p(np.float32([0, 1, 7, 12_345]))))  # as from a data set of logarithms
    assert OfCounts.as_stored(back).tolist() == [0, 1, 7, 12_345] and OfCounts.as_stored(np.array([2.5])) == 2.5


class NegativeBinomial(Likelihood):
    """Counts with a mean from the decoder and a learned dispersion, and a learned share of the mean, per feature."""

    values = "counts"
    density = False

    @classmethod
    def parameters(cls, modality):
        return {"log_dispersion": torch.zeros(modality.size), "log_factor": torch.full((modality.size,), 0.5)}

    @property
    def distribution(self):
        r = self.learned("log_dispersion").exp()
        mean = (self.output + self.learned("log_factor")).exp()
        return torch.distributions.NegativeBinomial(r, logits=mean.log() - r.log(), validate_args=False)

    mean = property(lambda self: self._event(self.distribution.mean))
    variance = property(lambda self: self._event(self.distribution.variance))

    def log_prob(self, value):
        return self.distribution.log_prob(self._features(value)).sum(-1)

    def from_uniform(self, u):
        return self._event(self.distribution.mean.round().expand(u.shape))


def test_a_likelihood_names_what_is_learned_for_it():
    likelihood("negative-binomial")(NegativeBinomial)
    try:
        views = [Modality("counts", (3,), "negative-binomial"), Modality("b", (2,), scale=1.0)]
        program = load_program("mvae")(views, hidden=8, latent_dim=2)
        learned = {name: p for name, p in program.named_parameters() if name.startswith("likelihood_parameters")}
        assert [*learned] == [
            "likelihood_parameters.counts.log_dispersion", "likelihood_parameters.counts.log_factor",
        ]  # fmt: skip
        values = {"counts": torch.arange(24.0).reshape(8, 3), "b": torch.randn(8, 2)}
        observed = {name: torch.ones(8, dtype=torch.bool) for name in values}
        loss = program.objective(Batch(values, observed, torch.arange(8), 8, ("counts", "b"))).loss
        for gradient in torch.autograd.grad(loss, [*learned.values()]):
            assert gradient.shape == (3,) and (gradient != 0).all()
        with pytest.raises(ValueError, match="NegativeBinomial names no parameter 'scale'"):
            NegativeBinomial(program.modality("counts"), torch.zeros(1, 3)).learned("scale")
        with pytest.raises(ValueError, match="needs a modality bound by its program"):
            NegativeBinomial(views[0], torch.zeros(1, 3)).mean  # noqa: B018
    finally:
        LIKELIHOODS.forget("negative-binomial")


class OfPositives(UnitNormal):
    """A user's own that claims an array by itself."""

    @classmethod
    def claims(cls, facts):
        positive = facts.kind == "f" and all((part > 0).all() for part in facts.parts())
        return Claim(3, Modality(facts.name, facts.shape, "positive", transform="none")) if positive else None


def test_a_likelihood_claims_the_data_it_is_for():
    numbers = np.random.default_rng(0).random((40, 2))
    arrays = {"a": numbers + 0.1, "b": numbers - 0.5}
    before = [m.likelihood for m in read(arrays).modalities]
    likelihood("positive")(OfPositives)
    try:
        after = [(m.likelihood, m.transform) for m in read(arrays).modalities]
    finally:
        LIKELIHOODS.forget("positive")
    assert before == ["normal", "normal"] and after == [("positive", "none"), ("normal", "standardise")]


@pytest.mark.parametrize("scored", ["observed", "seen"])
@pytest.mark.parametrize("missing", [0.4, 1.0])
def test_a_density_that_is_infinite_at_zero_has_gradients_where_values_are_missing(scored, missing):
    """A log-normal of one's own: what stands for a missing value is never its 0, where ln x has no derivative."""

    @likelihood("log-normal")
    class LogNormal(UnitNormal):
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
