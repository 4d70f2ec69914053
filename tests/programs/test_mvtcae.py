"""MVTCAE: its two objectives against loops over rows, the tabulated loss, and exact answers where it can be exact."""

import dataclasses

import pytest
import torch
from reference.linear_gaussian import World, batch_of, exact_mvae
from torch.distributions import Categorical, Normal, kl_divergence

from mmppl import Batch, Modality, UsageError, all_subsets, load_program
from mmppl.inference.query import ask
from mmppl.testing import check_program

pytestmark = pytest.mark.usefixtures("float64")
NAMES = ["a", "b", "c"]
MODALITIES = [
    *(Modality(name, (size,), "normal", scale=0.5) for name, size in zip(NAMES, (4, 3, 5))),
    Modality("label", (), "categorical", role="label", classes=tuple("xyz")),
]


def rows(program, number=9):
    """Rows of which each lacks something else; the last has nothing but a label, under NaN."""
    draw = torch.Generator().manual_seed(0)
    has = torch.cat([all_subsets(3), torch.tensor([[True, True, False], [False, False, False]])])
    values = {m.name: torch.randn(number, m.size, generator=draw) for m in MODALITIES[:3]}
    values["label"] = torch.arange(number) % 3
    observed = {name: has[:, i] for i, name in enumerate(NAMES)} | {"label": torch.arange(number) != 2}
    for name in NAMES:
        values[name][~observed[name]] = torch.nan
    return Batch(values, observed, torch.arange(number), number, program.encoded)


def made(**hyper):
    torch.manual_seed(0)
    return load_program("mvtcae")(MODALITIES, latent_dim=2, hidden=6, **hyper).double()


def by_hand(program, batch, noise, *, alpha, beta, both, prior, label_weight):
    """The formulas of the docstring, row by row, with PyTorch's own distributions."""
    total, standard = 0.0, Normal(torch.zeros(2), torch.ones(2))
    for row in range(len(batch)):
        seen = [n for n in NAMES if batch.observed[n][row]]
        experts = [program.encoders[n](batch.values[n][row]).chunk(2) for n in seen]
        experts = [(mean, (-log_var).exp()) for mean, log_var in experts]

        def product(of):
            if not of:
                return standard
            precision = sum((p for _, p in of), torch.ones(2) if prior else torch.zeros(2))
            return Normal(sum(m * p for m, p in of) / precision, precision**-0.5)

        q = product(experts)
        z, cost, n = q.mean + q.stddev * noise[row], 0.0, max(len(seen), 1)
        for name in seen:
            cost = cost - Normal(program.decoders[name](z), 0.5).log_prob(batch.values[name][row]).sum()
        if batch.observed["label"][row]:
            logits = program.decoders["label"](z)
            cost = cost - label_weight * Categorical(logits=logits).log_prob(batch.values["label"][row])
        target = q if both else Normal(q.mean.detach(), q.stddev.detach())
        apart = sum(kl_divergence(target, product([one])).sum() for one in experts) * alpha / n
        to_prior = kl_divergence(q, standard).sum()
        if both:
            total = total + (n - alpha) / n * cost + beta * (apart + (1 - alpha) * to_prior)
        else:
            total = total + cost + beta * (to_prior + apart)
    return total / len(batch)


@pytest.mark.parametrize("prior", [True, False])
@pytest.mark.parametrize("both", [True, False])
def test_the_objective_is_its_formula(both, prior, monkeypatch):
    """Values and gradients, rows that lack any of the modalities; KL(sg q ‖ q_m) moves the experts alone."""
    hyper = dict(alpha=0.7, beta=1.5, label_weight=3.0)
    program = made(towards="both" if both else "joint", prior_expert="always" if prior else "never", **hyper)
    batch = rows(program)
    noise = torch.randn(len(batch), 2, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(torch, "randn", lambda *shape, **kind: noise)
    parameters = list(program.parameters())
    terms = program.objective(batch)
    wanted = by_hand(program, batch, noise, both=both, prior=prior, **hyper)
    torch.testing.assert_close(terms.loss, wanted, rtol=1e-10, atol=0)
    ours, theirs = (torch.autograd.grad(loss, parameters) for loss in (terms.loss, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)
    assert {"kl.a", "kl.b", "kl.c", "kl.z", "nll.label"} <= {*terms}


def test_the_weights_of_the_paper_are_the_tabulated_ones():
    """Of three modalities, alpha = 5/6: 13/18 of the reconstruction, 5/18 of each KL, 1/6 of that to the prior."""
    program = made(towards="both", label_weight=0.0)
    batch = rows(program)
    whole = dataclasses.replace(
        batch,
        values={n: x.nan_to_num(0.3) for n, x in batch.values.items()},
        observed={n: torch.ones(9, dtype=torch.bool) for n in batch.values},
        seen=None, scored=None,
    )  # fmt: skip
    shared, plain = made(towards="both", alpha=5 / 6), made(towards="both", alpha=0.0)
    found = []
    for one in (shared, plain):
        torch.manual_seed(2)
        found.append(one.objective(whole))
    assert (found[0]["nll.a"][0] / found[1]["nll.a"][0]).item() == pytest.approx(0.7222222222, abs=1e-9)
    assert found[0]["kl.z"][1] == pytest.approx(0.1666666667, abs=1e-9)
    assert found[0]["kl.a"][1] / 3 == pytest.approx(0.2777777778, abs=1e-9)


def test_the_papers_loss_is_the_tabulated_one(monkeypatch):
    """z ~ N(0, 1), x1 ~ N(1.2 z, .5), x2 ~ N(−.7 z, .8), x = (.9, .1), exact experts; integrated by two draws."""
    world = World(
        {"x1": torch.tensor([[1.2]]), "x2": torch.tensor([[-0.7]])},
        {"x1": torch.zeros(1), "x2": torch.zeros(1)},
        {"x1": 0.5**0.5, "x2": 0.8**0.5},
    )
    data = world.sample(1)
    data.values["x1"][:], data.values["x2"][:] = 0.9, 0.1
    program = exact_mvae(world, "mvtcae", towards="both", prior_expert="never", beta=2.5)
    losses = []
    for sign in (1.0, -1.0):
        monkeypatch.setattr(torch, "randn", lambda shape, sign=sign, **kind: torch.full(shape, sign, **kind))
        losses.append(program.objective(batch_of(data, program.encoded)).loss.item())
    assert sum(losses) / 2 == pytest.approx(2.09516533, abs=1e-8)


@pytest.mark.parametrize("given", [["a"], ["b", "c"], NAMES], ids="+".join)
def test_with_the_prior_it_can_be_exact_for_every_subset(given):
    """Posterior and evidence without any Monte-Carlo error; without the prior, only where it is that of one subset."""
    world = World.make({"a": 4, "b": 3, "c": 5}, 2, orthogonal=True)
    data = world.sample(5)
    answer = ask(exact_mvae(world, "mvtcae"), data, given=given, want=["z", "evidence"], draws=20)
    mean, covariance = world.posterior(data.values, given)
    torch.testing.assert_close(torch.from_numpy(answer["z"]["mean"]), mean, rtol=0, atol=1e-10)
    variance = torch.from_numpy(answer["z"]["std"]) ** 2
    torch.testing.assert_close(variance, covariance.diagonal().expand(5, 2), rtol=0, atol=1e-10)
    nats = torch.from_numpy(answer["evidence"]["nats"])
    rest = [n for n in NAMES if n not in given]
    assert rest or torch.allclose(nats, world.log_evidence(data.values, given), rtol=0, atol=1e-10)
    without = exact_mvae(world, "mvtcae", posteriors=True, prior_expert="never")
    off = ask(without, data, given=given, want=["z"], draws=20)["z"]
    assert bool((torch.from_numpy(off["mean"]) - mean).abs().max() < 1e-10) == (len(given) == 1)


@pytest.mark.parametrize("prior", ["always", "never"])
def test_nothing_seen_is_the_prior(prior):
    world = World.make({"a": 4, "b": 3, "c": 5}, 2, orthogonal=True)
    program = exact_mvae(world, "mvtcae", prior_expert=prior)
    found = ask(program, world.sample(4), given=[], want=["z"], draws=3)["z"]
    assert (found["mean"] == 0).all() and (found["std"] == 1).all()


def test_every_law_holds():
    torch.set_default_dtype(torch.float32)
    assert len(check_program(load_program("mvtcae"))) == 7


def test_settings_that_cannot_be():
    with pytest.raises(UsageError, match=r"^MVTCAE: alpha=1.5 is not between 0 and 1.$"):
        made(alpha=1.5)
