"""On linear-Gaussian data everything has a closed form: posterior, evidence, predictive, for every subset."""

import dataclasses
from itertools import chain, combinations

import pytest
import torch
from reference.linear_gaussian import World, batch_of, exact_mvae

from mmppl import Modality, all_subsets, elbo, load_program, standard_normal
from mmppl.inference.query import ask

NAMES = ["a", "b", "c"]
SUBSETS = [list(s) for s in chain.from_iterable(combinations(NAMES, k) for k in (1, 2, 3))]
SIZES = {"a": 4, "b": 3, "c": 5}
pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(params=[True, False], ids=["orthogonal", "general"])
def world(request):
    return World.make(SIZES, 2, orthogonal=request.param)


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_the_reference_agrees_with_itself(world, names):
    data = world.sample(5).values
    torch.testing.assert_close(
        world.log_evidence(data, names), world.log_evidence_by_conditioning(data, names), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("temper", ["none", "learned"])
@pytest.mark.parametrize("method", ["guide", "importance"])
@pytest.mark.parametrize("given", SUBSETS, ids="+".join)
def test_posterior_and_evidence_of_an_exact_guide(given, method, temper):
    """The guide is the posterior, so each importance weight is the evidence: no Monte-Carlo error in it."""
    world = World.make(SIZES, 2, orthogonal=True)
    data = world.sample(6)
    program = exact_mvae(world, temper=temper)
    answer = ask(
        program,
        data,
        given=given,
        want=["z", "evidence", *[n for n in NAMES if n not in given]],
        draws=50,
        method=method,
    )
    mean, covariance = world.posterior(data.values, given)
    rest = [n for n in NAMES if n not in given]
    nats = world.log_evidence(data.values, NAMES if rest else given) - (
        world.log_evidence(data.values, given) if rest else 0
    )
    torch.testing.assert_close(torch.from_numpy(answer["evidence"]["nats"]), nats, rtol=0, atol=1e-10)
    assert (answer["evidence"]["se"] < 1e-10).all()
    if method == "guide":
        torch.testing.assert_close(torch.from_numpy(answer["z"]["mean"]), mean, rtol=0, atol=1e-10)
        torch.testing.assert_close(
            torch.from_numpy(answer["z"]["std"]) ** 2, covariance.diagonal().expand(6, 2), rtol=0, atol=1e-10
        )


def test_a_prior_query_is_the_prior():
    world = World.make(SIZES, 2, orthogonal=True)
    answer = ask(exact_mvae(world), world.sample(4), given=[], want=["z"], draws=3)
    assert (answer["z"]["mean"] == 0).all() and (answer["z"]["std"] == 1).all()


@pytest.mark.parametrize("given", [["a"], ["a", "b"], NAMES], ids="+".join)
def test_importance_corrects_a_guide_that_is_off(given):
    """General weights: the guide's diagonal is wrong; importance gives the closed form within Monte-Carlo error.
    A bound of 5 standard errors on 6 rows × 2 dimensions × 3 subsets is exceeded by chance once in 50,000 runs."""
    world = World.make(SIZES, 2, orthogonal=False)
    data = world.sample(6)
    program = exact_mvae(world)
    draws = 4000
    answer = ask(program, data, given=given, want=["z"], draws=draws, method="importance")
    mean, covariance = world.posterior(data.values, given)
    error = (torch.from_numpy(answer["z"]["mean"]) - mean).abs()
    effective = torch.from_numpy(answer["z"]["ess"]).unsqueeze(-1)
    assert (
        error < 5 * (covariance.diagonal() / effective).sqrt() * 1.5
    ).all()  # smoothed weights: ESS is a little high
    off = ask(program, data, given=given, want=["z"], draws=10)["z"]
    assert (
        len(given) == 1 or (torch.from_numpy(off["mean"]) - mean).abs().max() > 0.02
    )  # there was something to correct
    found = ask(program, data, given=given, want=["evidence"], draws=draws)["evidence"]
    gap = torch.from_numpy(found["nats"]) - world.log_evidence(data.values, given)
    assert (gap.abs() < 5 * torch.from_numpy(found["se"]) + 1e-3).all()


MIXTURES = [
    pytest.param("mopoe", {"prior_expert": "full"}, id="mopoe-full"),
    pytest.param("mopoe", {"prior_expert": "always"}, id="mopoe-always"),
    pytest.param("mopoe", {"prior_expert": "never"}, id="mopoe-never"),
    pytest.param("mmvae", {}, id="mmvae"),
    pytest.param("mmjsd", {}, id="mmjsd"),
]


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("mopoe", dict(prior_expert="full")),
        ("mopoe", dict(prior_expert="always")),
        ("mopoe", dict(prior_expert="never")),
        ("mvae", dict(temper="learned")),
        ("jmvae", {}),
        ("mmvae", {}),
        ("mvtcae", dict(prior_expert="never")),
        pytest.param("mmjsd", dict(answers="dynamic"), marks=pytest.mark.slow),
    ],
    ids=str,
)
@pytest.mark.parametrize("given", SUBSETS, ids="+".join)
def test_importance_corrects_other_guides(given, name, hyper):
    """MoPoE mixes all subsets of what is given, MMVAE what is given, MVAE's exponents are off, JMVAE counts the prior
    once per modality: the model's own posterior and evidence come back. 5 standard errors on 6 rows × 2 dimensions and
    6 evidences in 42 cases: exceeded by chance once in 2,000 runs."""
    world = World.make(SIZES, 2, orthogonal=True)
    data = world.sample(6)
    program = exact_mvae(world, name, **hyper)
    if name == "mvae":
        with torch.no_grad():
            program.log_exponents += torch.tensor([-0.4, 0.3, 0.2])
    answer = ask(program, data, given=given, want=["z", "evidence"], draws=4000, method="importance")
    mean, covariance = world.posterior(data.values, given)
    error = (torch.from_numpy(answer["z"]["mean"]) - mean).abs()
    effective = torch.from_numpy(answer["z"]["ess"]).unsqueeze(-1)
    assert (error < 5 * (covariance.diagonal() / effective).sqrt() * 1.5).all()
    found = answer["evidence"]
    gap = torch.from_numpy(found["nats"]) - world.log_evidence(data.values, given)
    assert (gap.abs() < 5 * torch.from_numpy(found["se"]) + 1e-9).all()
    assert (found["khat"] < 0.7).all()


@pytest.mark.parametrize("given", SUBSETS, ids="+".join)
def test_mopoe_can_answer_with_the_product(given):
    """With the prior as an expert it is exact here, and the mixture is not; without any observation it is the prior."""
    world = World.make(SIZES, 2, orthogonal=True)
    data = world.sample(6)
    program = exact_mvae(world, "mopoe", answers="product", prior_expert="always")
    answer = ask(program, data, given=given, want=["z"], draws=2)["z"]
    mean, covariance = world.posterior(data.values, given)
    torch.testing.assert_close(torch.from_numpy(answer["mean"]), mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        torch.from_numpy(answer["std"]) ** 2, covariance.diagonal().expand(6, 2), rtol=0, atol=1e-10
    )
    assert (ask(program, data, given=[], want=["z"], draws=2)["z"]["std"] == 1).all()
    program.prior_expert = "full"  # the component of all has it, those of less have not
    full = ask(program, data, given=given, want=["z"], draws=2)["z"]
    precision = 1 / covariance.diagonal() - (0 if len(given) == 3 else 1)
    torch.testing.assert_close(torch.from_numpy(full["std"]) ** -2, precision.expand(6, 2), rtol=0, atol=1e-10)
    shift = mean / covariance.diagonal()  # the prior's mean is 0
    torch.testing.assert_close(torch.from_numpy(full["mean"]), shift / precision, rtol=0, atol=1e-9)
    assert (ask(program, data, given=[], want=["z"], draws=2)["z"]["std"] == 1).all()


def test_jmvae_answers_each_row_by_what_it_has():
    """All: the joint network; one: its own; two: the product of theirs, without the prior; none: the prior."""
    world = World.make(SIZES, 2, orthogonal=True)
    data, patterns = world.sample(8), torch.cat([all_subsets(3), torch.zeros(1, 3, dtype=torch.bool)])
    holed = dataclasses.replace(data, observed={n: patterns[:, i] for i, n in enumerate(NAMES)})
    program = exact_mvae(world, "jmvae")
    with torch.no_grad():
        program.joint.head[0].bias += 0.1  # tells it from the exact one
    answer = ask(program, holed, want=["z"], draws=4)["z"]
    for row, pattern in enumerate(patterns):
        names = [n for n, x in zip(NAMES, pattern) if x]
        mean, covariance = world.posterior(data.values, names)
        mean, variance = mean[row], covariance.diagonal()
        if len(names) == 2:
            alone = [world.posterior(data.values, [n]) for n in names]
            precision = sum(1 / v.diagonal() for _, v in alone)
            mean, variance = sum(m[row] / v.diagonal() for m, v in alone) / precision, 1 / precision
        if len(names) == 3:
            mean, variance = mean + 0.1, variance * torch.tensor(0.1).exp()
        torch.testing.assert_close(torch.from_numpy(answer["mean"][row]), mean, rtol=0, atol=1e-10)
        torch.testing.assert_close(torch.from_numpy(answer["std"][row]) ** 2, variance, rtol=0, atol=1e-10)
    assert (answer["mean"][7] == 0).all() and (answer["std"][7] == 1).all()


@pytest.mark.parametrize(("name", "hyper"), MIXTURES)
def test_importance_corrects_a_mixture_of_what_each_row_has(name, hyper):
    """7 rows, each with another subset, 5 standard errors on 21 numbers × 4 cases: by chance once in 20,000 runs; and a
    row with nothing, whose answer is the prior exactly."""
    world = World.make(SIZES, 2, orthogonal=True)
    data, patterns = world.sample(8), all_subsets(3)
    observed = {n: torch.cat([patterns[:, i], torch.tensor([False])]) for i, n in enumerate(NAMES)}
    holed = dataclasses.replace(data, observed=observed)
    program = exact_mvae(world, name, **hyper)
    answer = ask(program, holed, want=["z"], draws=4000, method="importance")["z"]
    evidence = ask(program, holed, want=["evidence"], draws=4000)["evidence"]
    for row in range(7):
        names = [n for n in NAMES if observed[n][row]]
        mean, covariance = world.posterior(data.values, names)
        bound = 5 * (covariance.diagonal() / answer["ess"][row]).sqrt() * 1.5
        assert ((torch.from_numpy(answer["mean"][row]) - mean[row]).abs() < bound).all()
        gap = evidence["nats"][row] - world.log_evidence(data.values, names)[row].item()
        assert abs(gap) < 5 * evidence["se"][row] + 1e-9
    assert abs(evidence["nats"][7]) < 1e-12
    prior = ask(program, holed, want=["z"], draws=5)["z"]
    assert (prior["mean"][7] == 0).all() and (prior["std"][7] == 1).all()


@pytest.mark.parametrize(
    "given",
    [[], ["a"], *(pytest.param(of, marks=pytest.mark.slow, id="+".join(of)) for of in (["a", "b"], NAMES))],
    ids="+".join,
)
def test_laplace_latents_against_quadrature(given):
    """Two latents, prior Laplace of scales (1.2, .8), posterior and evidence on a grid of 0.02 with a node at 0.
    5 standard errors on 4 rows × 5 numbers × 4 cases: exceeded by chance once in 20,000 runs."""
    world = World.make(SIZES, 2, orthogonal=False)
    data = world.sample(4)
    program = exact_mvae(world, "mmvae", latent="laplace", learn_prior=True)
    with torch.no_grad():
        program.prior_logits.copy_(torch.tensor([0.6, 0.4]).log())
    side = torch.arange(-600, 601) * 0.02
    z = torch.cartesian_prod(side, side)
    scale = torch.tensor([1.2, 0.8])
    joint = torch.distributions.Laplace(0.0, scale).log_prob(z).sum(-1).expand(4, -1)
    for n in given:
        likelihood = torch.distributions.Normal(z @ world.weights[n].T + world.offsets[n], world.sds[n])
        joint = joint + torch.stack([likelihood.log_prob(x).sum(-1) for x in data.values[n]])
    nats = joint.logsumexp(-1) + 2 * torch.tensor(0.02).log()
    posterior = torch.softmax(joint, -1)
    mean = posterior @ z
    variance = posterior @ z.square() - mean.square()
    answer = ask(program, data, given=given, want=["z"], draws=8000, method="importance")["z"]
    se = (variance / torch.from_numpy(answer["ess"])[:, None]).sqrt()
    assert ((torch.from_numpy(answer["mean"]) - mean).abs() < 5 * 1.5 * se).all()
    kurtosis = (posterior @ z**4) / variance.square()  # about 0, hence above the central one
    of_variance = variance * (kurtosis / torch.from_numpy(answer["ess"])[:, None]).sqrt()
    assert ((torch.from_numpy(answer["std"]) ** 2 - variance).abs() < 5 * 1.5 * of_variance).all()
    if given:
        found = ask(program, data, given=given, want=["evidence"], draws=8000)["evidence"]
        assert (found["khat"] < 0.7).all()
        assert ((torch.from_numpy(found["nats"]) - nats).abs() < 5 * torch.from_numpy(found["se"]) + 1e-3).all()


@pytest.mark.parametrize("given", [["a"], ["b", "c"]], ids="+".join)
def test_predictive_mean_spread_and_quantiles(given):
    """4,000 draws: standard error of an sd 1.1 %, of a mean .016 sd, of outer quantiles .034 sd; bounds: 5 of them."""
    world = World.make(SIZES, 2, orthogonal=True)
    data = world.sample(4)
    target = next(n for n in NAMES if n not in given)
    answer = ask(exact_mvae(world), data, given=given, want=[target], draws=4000)[target]
    mean, variance = world.predictive(data.values, given, target)
    sd = variance.sqrt()
    assert ((torch.from_numpy(answer["mean"]) - mean).abs() < 5 * 0.016 * sd).all()
    assert ((torch.from_numpy(answer["std"]) / sd - 1).abs() < 5 * 0.011).all()
    for q, at in (("q05", -1.6449), ("q50", 0.0), ("q95", 1.6449)):
        assert ((torch.from_numpy(answer[q]) - mean - at * sd).abs() < 5 * 0.034 * sd).all()


def test_rows_with_different_things_missing_each_get_their_own_posterior():
    world = World.make(SIZES, 2, orthogonal=True)
    data = world.sample(8)
    patterns = all_subsets(3)
    observed = {n: torch.cat([patterns[:, i], torch.tensor([False])]) for i, n in enumerate(NAMES)}
    holed = dataclasses.replace(data, observed=observed)
    answer = ask(exact_mvae(world), holed, want=["z", "evidence"], draws=20)
    alone = ask(exact_mvae(world), holed.take(torch.arange(7)), want=["evidence"], draws=20)["evidence"]["nats"]
    for row in range(7):
        names = [n for n in NAMES if observed[n][row]]
        mean, _ = world.posterior(data.values, names)
        torch.testing.assert_close(torch.from_numpy(answer["z"]["mean"][row]), mean[row], rtol=0, atol=1e-10)
        want = world.log_evidence(data.values, names)[row].item()
        assert abs(alone[row] - want) < 1e-10
    assert (answer["z"]["mean"][7] == 0).all() and (answer["z"]["std"][7] == 1).all()
    assert any("none of the given modalities" in warning for warning in answer.warnings)


class Noise:
    """Fixes the guide's noise: a quadratic is integrated exactly by the two draws mean ± sd."""

    def __init__(self, monkeypatch):
        self.sign = 1.0
        monkeypatch.setattr(torch, "randn", lambda shape, **kind: torch.full(shape, self.sign, **kind))

    def mean(self, f):
        parts = []
        for self.sign in (1.0, -1.0):
            parts.append(f())
        return sum(parts) / 2


def tabulated():
    """z ~ N(0,1), x1|z ~ N(1.2 z, .5), x2|z ~ N(-.7 z, .8), x = (.9, .1): the tables have values by quadrature."""
    world = World(
        {"x1": torch.tensor([[1.2]]), "x2": torch.tensor([[-0.7]])},
        {"x1": torch.zeros(1), "x2": torch.zeros(1)},
        {"x1": 0.5**0.5, "x2": 0.8**0.5},
    )
    data = world.sample(1)
    data.values["x1"][:], data.values["x2"][:] = 0.9, 0.1
    return world, data


@pytest.mark.parametrize(
    ("scored", "expected"),
    [("observed", [-2.495215703, -3.446973242, -2.46913893]), ("seen", [-1.459045406, -1.050135611, -2.46913893])],
)
def test_subset_elbos_are_the_tabulated_ones(monkeypatch, scored, expected):
    world, data = tabulated()
    program = exact_mvae(world)
    noise = Noise(monkeypatch)
    for subset, want in zip(all_subsets(2), expected):
        batch = batch_of(data, program.encoded).under(subset.unsqueeze(0), scored=scored)
        assert -noise.mean(lambda b=batch: elbo(program, b).loss.item()) == pytest.approx(want, abs=1e-8)
    for subsets in ("all", "sampled"):  # of two modalities these are the same
        whole = exact_mvae(world, scored=scored, subsets=subsets, cross=0.0)
        loss = noise.mean(lambda p=whole: p.objective(batch_of(data, p.encoded)).loss.item())
        assert -loss == pytest.approx(sum(expected), abs=3e-8)


def test_jmvae_loss_is_the_tabulated_one(monkeypatch):
    """The same model; joint and single encoders are the exact posteriors, alpha = 0.1."""
    world, data = tabulated()
    program = exact_mvae(world, "jmvae", alpha=0.1)
    loss = Noise(monkeypatch).mean(lambda: program.objective(batch_of(data, program.encoded)).loss.item())
    assert loss == pytest.approx(2.51202586, abs=1e-8)


def test_evidence_of_the_tabulated_model():
    world, data = tabulated()
    program = exact_mvae(world)

    def log_likelihood(want, given):
        return ask(program, data, want=["evidence", *want], given=given, draws=5)["evidence"]["nats"][0]

    assert log_likelihood(["x1"], []) == pytest.approx(-1.459045406, abs=1e-8)
    assert log_likelihood(["x1", "x2"], []) == pytest.approx(-2.46913893, abs=1e-8)
    assert log_likelihood(["x2"], ["x1"]) == pytest.approx(-1.010093524, abs=1e-8)
    assert log_likelihood([], ["x1", "x2"]) == pytest.approx(-2.46913893, abs=1e-8)


# --- CMMD: p(z | x_O) = N(A x_O + a, V), p(x_M | z, x_O) = N(W z + U x_O + b, s²) with orthogonal columns in W


@pytest.fixture
def conditional():
    rng = torch.Generator().manual_seed(5)
    draw = lambda *shape: torch.randn(*shape, generator=rng)  # noqa: E731
    o, m, d, s = 3, 4, 2, 0.7
    A, a, log_v = draw(d, o), draw(d), 0.3 * draw(d)
    W = torch.linalg.qr(draw(m, d)).Q * torch.tensor([0.8, 1.4])
    U, b = draw(m, o), draw(m)
    modalities = [Modality("o", (o,), "normal"), Modality("m", (m,), "normal", scale=s)]
    program = load_program("cmmd")(modalities, layers=0, latent_dim=d, dropout=0.0).double().eval()
    precision = torch.exp(-log_v) + (W.T @ W).diagonal() / s**2
    gain = W.T / s**2
    with torch.no_grad():
        program.prior.head[0].weight.copy_(torch.cat([A, torch.zeros(d, o)]))
        program.prior.head[0].bias.copy_(torch.cat([a, log_v]))
        program.decoders["m"][0].weight.copy_(torch.cat([W, U], 1))
        program.decoders["m"][0].bias.copy_(b)
        to_o = (torch.exp(-log_v)[:, None] * A - gain @ U) / precision[:, None]
        program.encoder.head[0].weight.copy_(
            torch.cat([torch.cat([to_o, gain / precision[:, None]], 1), torch.zeros(d, o + m)])
        )
        program.encoder.head[0].bias.copy_(
            torch.cat([(torch.exp(-log_v) * a - gain @ b) / precision, -precision.log()])
        )
    x_o, x_m = draw(5, o), draw(5, m)
    world = World.make({"o": o, "m": m}, d, orthogonal=True)
    data = dataclasses.replace(world.sample(5), modalities=tuple(modalities), values={"o": x_o, "m": x_m})
    prior = (x_o @ A.T + a, log_v.exp())
    mean = x_o @ U.T + b + prior[0] @ W.T
    covariance = W @ torch.diag(log_v.exp()) @ W.T + s**2 * torch.eye(m)
    evidence = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x_m)
    joint = torch.linalg.inv(torch.diag(torch.exp(-log_v)) + W.T @ W / s**2)
    posterior = ((x_m - x_o @ U.T - b) @ gain.T + prior[0] / log_v.exp()) @ joint
    return program, data, prior, (mean, covariance), evidence, (posterior, joint)


def test_cmmd_given_x_o_answers_with_the_conditional_prior(conditional):
    program, data, prior, (mean, covariance), evidence, _ = conditional
    answer = ask(program, data, given=["o"], want=["z", "m", "evidence"], draws=4000)
    torch.testing.assert_close(torch.from_numpy(answer["z"]["mean"]), prior[0], rtol=0, atol=1e-10)
    sd = covariance.diagonal().sqrt()
    assert ((torch.from_numpy(answer["m"]["mean"]) - mean).abs() < 5 * 0.016 * sd).all()
    assert ((torch.from_numpy(answer["m"]["std"]) / sd - 1).abs() < 5 * 0.011).all()
    torch.testing.assert_close(torch.from_numpy(answer["evidence"]["nats"]), evidence, rtol=0, atol=1e-10)


def test_cmmd_given_both_answers_with_the_exact_posterior(conditional):
    program, data, *_, (posterior, covariance) = conditional
    answer = ask(program, data, given=["o", "m"], want=["z"], draws=10)
    torch.testing.assert_close(torch.from_numpy(answer["z"]["mean"]), posterior, rtol=0, atol=1e-10)
    torch.testing.assert_close(
        torch.from_numpy(answer["z"]["std"]) ** 2, covariance.diagonal().expand(5, 2), rtol=0, atol=1e-10
    )


def test_cmmd_with_an_exact_guide_has_the_evidence_as_its_elbo(conditional, monkeypatch):
    program, data, *_, evidence, _ = conditional
    program.omega = 1.0
    noise = Noise(monkeypatch)
    loss = noise.mean(lambda: program.objective(batch_of(data, program.encoded)).loss.item())
    assert -loss == pytest.approx(evidence.mean().item(), abs=1e-10)


def test_the_kl_between_prior_kinds():
    assert torch.distributions.kl_divergence(standard_normal(3), standard_normal(3)).item() == 0
