"""Bounds with a mixture guide: tabulated values, and a loop over rows, their own modalities and draws."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from reference.linear_gaussian import World, batch_of, exact_mvae
from torch import distributions as td

from mmppl import Dataset, Modality, load_program
from mmppl.inference.query import ask

pytestmark = pytest.mark.usefixtures("float64")
EPS = torch.tensor([-1.3, -0.2, 0.6, 1.5, 0.1]).double()
KINDS = ["elbo", "looser", "iwae"]


@pytest.fixture
def fixed_noise(monkeypatch):
    """Sets the noise of the draws, (K, M, B, D) or something that broadcasts to it."""

    def fix(noise):
        for name in ("randn", "rand"):
            drawn = getattr(torch, name)  # with a generator of its own: for a kernel that is generated now
            monkeypatch.setattr(
                torch,
                name,
                lambda *shape, d=drawn, **kind: d(*shape, **kind) if "generator" in kind else noise.expand(*shape),
            )

    return fix


# --- z ~ N(0, 1), x1 | z ~ N(1.2 z, .5), x2 | z ~ N(-.7 z, .8), x = (.9, .1)


def tabulated(kind, dreg=False, experts=None):
    """The program on it: experts of these (mean, log-variance), else the two posteriors given one modality each."""
    world = World(
        {"x1": torch.tensor([[1.2]]), "x2": torch.tensor([[-0.7]])},
        {"x1": torch.zeros(1), "x2": torch.zeros(1)},
        {"x1": 0.5**0.5, "x2": 0.8**0.5},
    )
    data = world.sample(1)
    data.values["x1"][:], data.values["x2"][:] = 0.9, 0.1
    program = exact_mvae(world, "mmvae", objective=kind, dreg=dreg, draws=5)
    with torch.no_grad():
        for name in program.encoded:
            mean, covariance = world.posterior(data.values, [name])
            program.encoders[name][0].weight.zero_()
            program.encoders[name][0].bias.copy_(
                torch.tensor(experts or [mean.item(), math.log(covariance.item())]),
            )
    return program, batch_of(data, program.encoded), data


OTHER = [0.3, math.log(0.4)]


@pytest.mark.parametrize("kind", ["looser", "iwae"])
def test_five_draws_of_one_gaussian(kind, fixed_noise):
    """Both experts are N(.3, .4), so their mixture is."""
    program, batch, _ = tabulated(kind, experts=OTHER)
    fixed_noise(EPS.reshape(5, 1, 1, 1))
    assert -program.objective(batch).loss.item() == pytest.approx(-2.415179378, abs=1e-8)


@pytest.mark.parametrize(("kind", "want"), [("iwae", -2.419018136), ("looser", -2.429325105)])
def test_five_draws_of_each_of_two_posteriors(kind, want, fixed_noise):
    program, batch, _ = tabulated(kind)
    fixed_noise(EPS.reshape(5, 1, 1, 1))
    assert -program.objective(batch).loss.item() == pytest.approx(want, abs=1e-8)


def test_the_elbo_of_a_mixture(fixed_noise):
    """Nodes and weights of a Gauss-Hermite rule of 90 points take the place of equally weighted draws."""
    program, batch, _ = tabulated("elbo")
    nodes, shares = np.polynomial.hermite_e.hermegauss(90)
    total = 0.0
    program.bound["draws"] = 1
    for node, share in zip(nodes, shares / shares.sum()):
        fixed_noise(torch.tensor(node))
        total -= share * program.objective(batch).loss.item()
    assert total == pytest.approx(-2.845231088, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exact_posterior_has_the_evidence_as_its_bound(kind, fixed_noise):
    program, batch, _ = tabulated(kind, experts=[0.4613244296, math.log(0.2225932109)])
    fixed_noise(torch.randn(5, 2, 1, 1, generator=torch.Generator().manual_seed(0)))
    assert -program.objective(batch).loss.item() == pytest.approx(-2.46913893, abs=1e-8)


def test_tabulated_evidence():
    """Of x1 its expert is the posterior: no Monte-Carlo error. Of both, and of one given the other, by 100,000 draws of
    the mixture: 5 standard errors, exceeded by chance once in 800,000 runs."""
    program, _, data = tabulated("iwae")

    def ask_for(want, given, draws=100_000):
        return ask(program, data, want=["evidence", *want], given=given, draws=draws)["evidence"]

    assert ask_for([], ["x1"], 5)["nats"][0] == pytest.approx(-1.459045406, abs=1e-8)
    for found, nats in (
        (ask_for([], ["x1", "x2"]), -2.46913893),
        (ask_for(["x2"], ["x1"]), -1.010093524),
    ):
        assert abs(found["nats"][0] - nats) < 5 * found["se"][0] < 0.02


@pytest.mark.parametrize(
    ("experts", "want"),
    [(OTHER, [0.04691486674, -0.02741750384]), ([0.4613244296, math.log(0.2225932109)], [0.0, 0.0])],
    ids=["other", "posterior"],
)
@pytest.mark.parametrize(("kind", "share"), [("looser", 1.0), ("iwae", 0.5)])
def test_the_doubly_reparametrised_gradient_is_the_tabulated_one(experts, want, kind, share, fixed_noise):
    """Summed over the two (equal) experts; among twice as many weights each is half as large, its square a quarter."""
    program, batch, _ = tabulated(kind, dreg=True, experts=experts)
    fixed_noise(EPS.reshape(5, 1, 1, 1))
    biases = [program.encoders[name][0].bias for name in program.encoded]
    gradients = torch.autograd.grad(-program.objective(batch).loss, biases)
    torch.testing.assert_close(sum(gradients), share * torch.tensor(want), rtol=0, atol=1e-8)


# --- any likelihood, anything missing, against a loop

MODALITIES = (
    Modality("a", (4,), "normal", scale=0.7),
    Modality("b", (3,), "laplace", scale=0.5),
    Modality("c", (5,), "bernoulli"),
    Modality("label", (), "categorical", role="label", classes=(0, 1, 2)),
)
WEIGHTS = {"a": 1.5, "b": 0.5, "c": 2.0, "label": 3.0}


def mixed(rows=9):
    rng = torch.Generator().manual_seed(4)
    values = {m.name: torch.rand(rows, *m.shape, generator=rng) for m in MODALITIES[:3]}
    values["label"] = torch.randint(3, (rows,), generator=rng)
    observed = {m.name: torch.rand(rows, generator=rng) < 0.6 for m in MODALITIES}
    for m in MODALITIES:
        observed[m.name][0] = True
        observed[m.name][1] = m.name == "label"  # nothing that a guide sees
    return Dataset("mixed", MODALITIES, values, observed, np.arange(rows), np.zeros(rows, np.int8), True)


def made(latent, kind, **hyper):
    torch.manual_seed(5)
    options = dict(latent=latent, objective=kind, latent_dim=2, hidden=8, draws=3, learn_prior=True)
    program = load_program("mmvae")(MODALITIES, **options, **hyper).double()
    with torch.no_grad():
        program.prior_logits.copy_(torch.tensor([0.4, -0.3]))
    return program


def drawn(latent, rows):
    rng = torch.Generator().manual_seed(6)
    return (torch.randn if latent == "normal" else torch.rand)(3, 3, rows, 2, generator=rng)


def log_likelihood(m, output, x):
    if m.name == "label":
        return td.Categorical(logits=output).log_prob(x)
    if m.name == "c":
        return (x * torch.sigmoid(output).log() + (1 - x) * torch.sigmoid(-output).log()).sum()
    return (td.Normal(output, 0.7) if m.name == "a" else td.Laplace(output, 0.5)).log_prob(x).sum()


class Loop:
    """One row at a time: experts, draws and importance weights of a program, in torch's own distributions."""

    def __init__(self, program, data, noise, sees=("a", "b", "c")):
        self.program, self.data, self.noise, self.sees = program, data, noise, sees
        self.family = td.Normal if program.latent == "normal" else td.Laplace

    def has(self, row):
        return [n for n in self.program.encoded if n in self.sees and self.data.observed[n][row]]

    def expert(self, name, row):
        loc, rest = self.program.encoders[name](self.data.values[name][row].unsqueeze(0))[0].chunk(2)
        return loc, torch.exp(rest / 2) if self.program.latent == "normal" else 2 * torch.softmax(rest, -1) + 1e-6

    def draw(self, name, row, k):
        loc, scale = self.expert(name, row)
        eps = self.noise[k, self.program.encoded.index(name), row]
        return loc + scale * (eps if self.program.latent == "normal" else td.Laplace(0.0, 1.0).icdf(eps))

    def log_weight(self, row, z, fixed=False):
        experts = [self.expert(n, row) for n in self.has(row)]
        experts = [(a.detach(), b.detach()) for a, b in experts] if fixed else experts
        log_q = torch.stack([self.family(*e).log_prob(z).sum() for e in experts]).exp().mean().log()
        scale = 2 * torch.softmax(self.program.prior_logits, -1)
        total = self.program.bound["beta"] * (self.family(0.0, scale).log_prob(z).sum() - log_q)
        for m in self.data.modalities:
            if self.data.observed[m.name][row]:
                x = self.data.values[m.name][row]
                total = total + WEIGHTS[m.name] * log_likelihood(m, self.program.decoders[m.name](z), x)
        return total


def groups(kind, names):
    """Which (modality, draw) pairs are averaged before the logarithm."""
    each = [[(n, k) for k in range(3)] for n in names]
    together = [sum(each, [])] if each else []
    return {"elbo": [[pair] for g in each for pair in g], "looser": each, "iwae": together}[kind]


@pytest.mark.parametrize("sees", [("a", "b", "c"), ("a", "c")], ids="+".join)
@pytest.mark.parametrize("latent", ["normal", "laplace"])
@pytest.mark.parametrize("kind", KINDS)
def test_bothient_are_those_of_a_loop(kind, latent, sees, fixed_noise):
    """Of all that is there, and when the guide may look at less than what is scored."""
    program, data = made(latent, kind, weights=(1.5, 0.5, 2.0), label_weight=3.0, dreg=False), mixed()
    noise = drawn(latent, len(data))
    loop, rows = Loop(program, data, noise, sees), []
    for row in range(len(data)):
        parts = [
            torch.stack([loop.log_weight(row, loop.draw(n, row, k)) for n, k in group]).exp().mean().log()
            for group in groups(kind, loop.has(row))
        ]
        rows.append(torch.stack(parts).mean() if parts else torch.zeros(()))
    want = -torch.stack(rows).mean()
    fixed_noise(noise)
    got = program.objective(batch_of(data, program.encoded).seeing(sees)).loss
    torch.testing.assert_close(got, want, rtol=1e-10, atol=0)
    parameters = list(program.parameters())
    ours, theirs = (torch.autograd.grad(x, parameters, allow_unused=True) for x in (got, want))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("beta", [1.0, 0.3])
@pytest.mark.parametrize("latent", ["normal", "laplace"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_doubly_reparametrised_gradient_is_that_of_a_loop(kind, latent, beta, fixed_noise):
    """Encoders Σ ((1 − β) w̃ + β w̃²) ∂ln w/∂z ∂z/∂φ, everything else Σ w̃ ∂ln w/∂θ; w̃ normalised in its group, q's
    parameters fixed."""
    program, data = made(latent, kind, weights=(1.5, 0.5, 2.0), label_weight=3.0, dreg=True, beta=beta), mixed()
    loop = Loop(program, data, drawn(latent, len(data)))
    parameters = list(program.parameters())
    encoders = {id(p) for p in program.encoders.parameters()}
    want = [torch.zeros_like(p) for p in parameters]
    for row in range(len(data)):
        own = groups(kind, loop.has(row))
        for group in own:
            at = [loop.draw(n, row, k) for n, k in group]
            fixed = [z.detach().requires_grad_() for z in at]
            log_w = [loop.log_weight(row, z, fixed=True) for z in fixed]
            normalised = torch.softmax(torch.stack(log_w).detach(), 0)
            for z, leaf, ln_w, w in zip(at, fixed, log_w, normalised):
                to_z, *direct = torch.autograd.grad(ln_w, [leaf, *parameters], allow_unused=True)
                through_z = torch.autograd.grad(z, parameters, (w - beta * w + beta * w**2) * to_z, allow_unused=True)
                for i, p in enumerate(parameters):
                    slope = through_z[i] if id(p) in encoders else None if direct[i] is None else w * direct[i]
                    want[i] -= 0 if slope is None else slope / len(own) / len(data)
    fixed_noise(loop.noise)
    got = torch.autograd.grad(program.objective(batch_of(data, program.encoded)).loss, parameters)
    torch.testing.assert_close(list(got), want, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("beta", [1.0, 0.5, 2.0])
def test_dreg_is_unbiased_for_rows_of_one_modality(beta, monkeypatch):
    """20,000 equal rows; difference of the two estimators' means within 4.5 standard errors in each of 4 numbers (false
    alarm once in 35,000 runs), and at β = 1 the new one's variance is at most half the plain one's."""
    world = World.make({"a": 3}, 2, orthogonal=True)
    row = world.sample(1)
    rows = 20_000
    data = dataclasses.replace(
        row, values={"a": row.values["a"].expand(rows, 3)}, observed={"a": torch.ones(rows, dtype=torch.bool)}
    )
    found = {}
    for dreg in (False, True):
        program = exact_mvae(world, "mmvae", dreg=dreg, draws=5, beta=beta)
        leaves = [torch.tensor(v).expand(1, rows, 2).clone().requires_grad_() for v in ([0.3, -0.2], [-1.0, -0.5])]
        monkeypatch.setattr(program, "experts", lambda batch, head, leaves=leaves: tuple(leaves))
        torch.manual_seed(7 + dreg)
        loss = program.objective(data.batch(torch.arange(rows), program.encoded)).loss
        found[dreg] = rows * torch.cat(torch.autograd.grad(loss, leaves), -1)[0]
    error = sum(g.var(0) / rows for g in found.values()).sqrt()
    assert ((found[True].mean(0) - found[False].mean(0)).abs() < 4.5 * error).all()
    assert beta != 1 or (found[True].var(0) < 0.5 * found[False].var(0)).all()


@pytest.mark.parametrize("latent", ["normal", "laplace"])
def test_more_averaging_is_a_tighter_bound(latent, fixed_noise):
    """By Jensen's inequality, on the same draws."""
    data, found = mixed(), []
    fixed_noise(drawn(latent, len(data)))
    for kind in KINDS:
        program = made(latent, kind)
        found.append(-program.objective(batch_of(data, program.encoded)).loss.item())
    assert found[0] < found[1] < found[2]


@pytest.mark.parametrize("draws", [1, 100])
def test_no_bound_is_above_the_evidence(draws):
    """Rows with anything missing; the mean of 40 repeats is at most 4 standard errors above the exact value (false
    alarm once in 30,000 runs), and with 100 draws of each component the tightest is within 0.02 nats of it."""
    world = World.make({"a": 4, "b": 3, "c": 5}, 2, orthogonal=True)
    data = world.sample(60)
    observed = {n: torch.rand(60, generator=torch.Generator().manual_seed(i)) < 0.6 for i, n in enumerate("abc")}
    observed["a"] |= ~(observed["b"] | observed["c"])
    data = dataclasses.replace(data, observed=observed)
    exact = sum(
        world.log_evidence({n: v[i : i + 1] for n, v in data.values.items()}, [n for n in "abc" if observed[n][i]])
        for i in range(60)
    ).item()
    gaps = {}
    for kind in KINDS:
        program = exact_mvae(world, "mmvae", objective=kind, draws=draws)
        torch.manual_seed(8)
        with torch.no_grad():
            values = [-program.objective(batch_of(data, program.encoded)).loss.item() for _ in range(40)]
        gaps[kind] = exact / 60 - np.mean(values)
        assert gaps[kind] > -4 * np.std(values, ddof=1) / 40**0.5
    assert gaps["iwae"] < gaps["looser"] < gaps["elbo"] + 1e-9
    assert draws == 1 or gaps["iwae"] < 0.02
