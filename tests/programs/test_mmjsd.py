"""MMJSD: divergence and dynamic prior beside reference values and quadrature, the objective against a loop, styles."""

import math

import pytest
import torch
from reference.linear_gaussian import World, exact_mvae
from torch.distributions import Categorical, Normal, kl_divergence

from mmppl import Batch, Modality, UsageError, all_subsets, dynamic_prior, jensen_shannon, load_program
from mmppl.data.dataset import Dataset
from mmppl.inference.query import ask
from mmppl.testing import check_program

pytestmark = pytest.mark.usefixtures("float64")
NAMES = ["a", "b", "c"]
MODALITIES = [
    *(Modality(name, (size,), "normal", scale=0.5) for name, size in zip(NAMES, (4, 3, 5))),
    Modality("label", (), "categorical", role="label", classes=tuple("xyz")),
]
LOC = torch.tensor([[1.0, -0.5], [2.0, 0.3], [-1.0, 0.8]], dtype=torch.float64).unsqueeze(1)
LOG_VAR = torch.tensor([[0.0, -1.0], [math.log(0.25), 0.5], [1.0, -0.3]], dtype=torch.float64).unsqueeze(1)


def test_the_reference_values():
    f = dynamic_prior(LOC, LOG_VAR, torch.ones(1, 3, dtype=torch.bool))
    assert f.loc.flatten().tolist() == pytest.approx([1.355572234, -0.01714542838], abs=1e-9)
    assert f.log_var.flatten().tolist() == pytest.approx([-0.4649721553, -0.3497182791], abs=1e-9)
    terms = jensen_shannon(LOC, LOG_VAR, torch.ones(1, 3, dtype=torch.bool), beta=0.5)
    assert terms["jsd"][0].item() == pytest.approx(2.151216184, abs=1e-9) and terms["jsd"][1] == 0.5


@pytest.mark.parametrize("seen", [[], [1], [0, 2]], ids=str)
def test_some_experts_by_quadrature(seen):
    """The normalised geometric mean on a grid, and Σ ∫ q ln(q / f) over the members, of what is seen and the prior."""
    mask = torch.zeros(1, 3, dtype=torch.bool)
    mask[0, seen] = True
    hidden = [t.clone().masked_fill(~mask.mT.unsqueeze(-1), torch.nan) for t in (LOC, LOG_VAR)]
    f, found = dynamic_prior(*hidden, mask), jensen_shannon(*hidden, mask)["jsd"][0].item()
    grid, total = torch.linspace(-30, 30, 60_001, dtype=torch.float64), 0.0
    for d in range(2):
        members = [Normal(LOC[m, 0, d], (0.5 * LOG_VAR[m, 0, d]).exp()).log_prob(grid) for m in seen]
        members.append(Normal(torch.zeros(()), torch.ones(())).log_prob(grid))
        unscaled = sum(members) / len(members)
        log_f = unscaled - torch.trapezoid(unscaled.exp(), grid).log()
        torch.testing.assert_close(
            Normal(f.loc[0, d], (0.5 * f.log_var[0, d]).exp()).log_prob(grid), log_f, rtol=1e-9, atol=1e-9
        )
        total += sum(torch.trapezoid(q.exp() * (q - log_f), grid).item() for q in members) / len(members)
    assert found == pytest.approx(total, abs=1e-9)


def test_what_is_not_seen_has_no_gradient():
    loc, log_var = (t.clone().requires_grad_() for t in (LOC, LOG_VAR))
    with torch.no_grad():
        loc[1], log_var[1] = torch.nan, torch.nan
    jensen_shannon(loc, log_var, torch.tensor([[True, False, True]])).loss.backward()
    assert (loc.grad[1] == 0).all() and (log_var.grad[1] == 0).all() and loc.grad[0].isfinite().all()


def rows(program, number=8):
    """Rows of which each lacks something else, under NaN; the last has nothing but a label."""
    draw = torch.Generator().manual_seed(0)
    has = torch.cat([all_subsets(3), torch.tensor([[False, False, False]])])
    values = {m.name: torch.randn(number, m.size, generator=draw) for m in MODALITIES[:3]}
    values["label"] = torch.arange(number) % 3
    observed = {name: has[:, i] for i, name in enumerate(NAMES)} | {"label": torch.arange(number) != 2}
    for name in NAMES:
        values[name][~observed[name]] = torch.nan
    return Batch(values, observed, torch.arange(number), number, program.encoded)


def made(**hyper):
    torch.manual_seed(0)
    return load_program("mmjsd")(MODALITIES, latent_dim=2, hidden=6, **hyper).double()


def by_hand(program, batch, noise, *, private=(0, 0, 0), prior_component=False, beta=1.0, style_beta=1.0):
    """The formula of the docstring, row by row; `noise` is 0.3 everywhere."""
    total = 0.0
    gaussian = lambda out: (lambda loc, log_var: Normal(loc, (0.5 * log_var).exp()))(*out.chunk(2))  # noqa: E731
    for row in range(len(batch)):
        seen = [n for n in NAMES if batch.observed[n][row]]
        if not seen:
            continue
        x = {n: batch.values[n][row] for n in seen}
        own = [gaussian(program.encoders[n](x[n])) for n in seen]
        standard = Normal(torch.zeros(2), torch.ones(2))
        styles = {n: gaussian(program.private_encoders[n](x[n])) for n, size in zip(NAMES, private) if size and n in x}
        components = [*own, standard] if prior_component else own
        for component in components:
            z, cost = component.mean + component.stddev * noise, 0.0
            for n in seen:
                s = [styles[n].mean + styles[n].stddev * noise] if n in styles else []
                cost = cost - Normal(program.decoders[n](torch.cat([z, *s])), 0.5).log_prob(x[n]).sum()
            if batch.observed["label"][row]:
                logits = program.decoders["label"](z)
                cost = cost - 3.0 * Categorical(logits=logits).log_prob(batch.values["label"][row])
            total = total + cost / len(components)
        members = [*own, standard]
        precision = sum(q.variance.reciprocal() for q in members) / len(members)
        middle = Normal(sum(q.mean / q.variance for q in members) / len(members) / precision, precision**-0.5)
        total = total + beta * sum(kl_divergence(q, middle).sum() for q in members) / len(members)
        for q in styles.values():
            plain = Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean))
            total = total + beta * style_beta * kl_divergence(q, plain).sum()
    return total / len(batch)


@pytest.mark.parametrize(
    "hyper",
    [{}, dict(prior_component=True, beta=2.5), dict(private=(2, 0, 3), beta=0.7, style_beta=2.0)],
    ids=["default", "prior", "styles"],
)
def test_the_objective_is_its_formula(hyper, monkeypatch):
    """Values and gradients, rows that lack any of the modalities."""
    sizes = hyper.get("private", (0, 0, 0))
    program = made(label_weight=3.0, **hyper | {"private": (*sizes, 0)})
    batch = rows(program)
    for name in ("randn", "randn_like"):
        like = name.endswith("like")
        shape = (lambda x, **kind: torch.full_like(x, 0.3)) if like else (lambda *s, **k: torch.full(s[0], 0.3, **k))
        monkeypatch.setattr(torch, name, shape)
    parameters = list(program.parameters())
    terms, wanted = program.objective(batch), by_hand(program, batch, 0.3, **hyper)
    torch.testing.assert_close(terms.loss, wanted, rtol=1e-10, atol=0)
    ours, theirs = (torch.autograd.grad(loss, parameters) for loss in (terms.loss, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)
    assert {"jsd", "nll.label"} <= {*terms} and "kl.z" not in terms


def test_answers_are_the_mixture_or_the_dynamic_prior():
    """Given one modality the mixture is its posterior; the dynamic prior has the mean of the product, and n + 1 times
    its variance; nothing seen is the prior in either."""
    world = World.make({"a": 4, "b": 3, "c": 5}, 2, orthogonal=True)
    data = world.sample(5)
    alone = exact_mvae(world, "mmjsd", posteriors=True)
    mean, covariance = world.posterior(data.values, ["b"])
    answer = ask(alone, data, given=["b"], want=["z"], draws=3)["z"]
    torch.testing.assert_close(torch.from_numpy(answer["mean"]), mean, rtol=0, atol=1e-10)
    dynamic = exact_mvae(world, "mmjsd", answers="dynamic")
    mean, covariance = world.posterior(data.values, ["a", "c"])
    answer = ask(dynamic, data, given=["a", "c"], want=["z"], draws=3)["z"]
    torch.testing.assert_close(torch.from_numpy(answer["mean"]), mean, rtol=0, atol=1e-10)
    variance = torch.from_numpy(answer["std"]) ** 2
    torch.testing.assert_close(variance, 3 * covariance.diagonal().expand(5, 2), rtol=0, atol=1e-10)
    for program in (alone, dynamic):
        nothing = ask(program, data, given=[], want=["z"], draws=3)["z"]
        assert (nothing["mean"] == 0).all() and (nothing["std"] == 1).all()


@pytest.mark.slow
def test_the_evidence_with_styles_is_right():
    """Each modality has a style of its own: their posteriors are exact, so the evidence needs no more than a mixture's
    correction. 5 standard errors on 6 rows: exceeded by chance once in 300,000 runs."""
    shared = World.make({"a": 6, "b": 5}, 2, orthogonal=True)
    own = World.make({"a": 6, "b": 5}, 1, orthogonal=True, seed=3)
    program = load_program("mmjsd")(shared.modalities(), latent_dim=2, private=1, layers=0).double()
    with torch.no_grad():
        for name in "ab":
            decoder = [m for m in program.decoders[name].modules() if isinstance(m, torch.nn.Linear)][0]
            decoder.weight.copy_(torch.cat([shared.weights[name], own.weights[name]], 1))
            decoder.bias.copy_(shared.offsets[name])
    draw = torch.Generator().manual_seed(5)
    values, nats = {}, 0.0
    covariance = {}
    for name, w in shared.weights.items():
        covariance[name] = w @ w.T + own.weights[name] @ own.weights[name].T + shared.sds[name] ** 2 * torch.eye(len(w))
        values[name] = shared.offsets[name] + torch.randn(6, len(w), generator=draw)
    a, b = shared.weights["a"], shared.weights["b"]
    whole = torch.cat([torch.cat([covariance["a"], a @ b.T], 1), torch.cat([b @ a.T, covariance["b"]], 1)])
    law = torch.distributions.MultivariateNormal(torch.cat([shared.offsets[n] for n in "ab"]), whole)
    nats = law.log_prob(torch.cat([values[n] for n in "ab"], -1))
    data = shared.sample(6)
    data = Dataset(data.name, data.modalities, values, data.observed, data.ids, data.split, True)
    found = ask(program.eval(), data, given=["a", "b"], want=["evidence"], draws=20_000)["evidence"]
    gap = (torch.from_numpy(found["nats"]) - nats).abs()
    assert (gap < 5 * torch.from_numpy(found["se"])).all()


def test_every_law_holds():
    torch.set_default_dtype(torch.float32)
    assert len(check_program(load_program("mmjsd"), private=2)) == 6


def test_settings_that_cannot_be():
    for private in ((1, 2), (1, 1, 1, 1), -1):
        with pytest.raises(UsageError, match="^MMJSD: private=[^\n]*one for each of a, b, c, label, 0 for labels.$"):
            made(private=private)
    with pytest.raises(UsageError, match="style_beta=-1.0 is negative"):
        made(style_beta=-1.0)
