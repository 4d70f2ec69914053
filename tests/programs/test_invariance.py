"""What must not matter, for every program: the order of the rows, the order of the modalities, and what lies under a
mask."""

import dataclasses

import numpy as np
import pyro
import pytest
import torch
from reference.asked import asked as as_model

from mmppl import Dataset, load_program, read
from mmppl.core.loading import installed_programs
from mmppl.evaluation.evaluate import evaluate
from mmppl.inference.query import ask
from mmppl.nn import per_modality

MORE = [
    ("mvae", dict(subsets="sampled", scored="seen", temper="learned", warm_up=0.5)),
    ("mvae", dict(networks="conv")),
    ("mmvae", dict(objective="elbo")),
    ("mmvae", dict(objective="iwae", latent="laplace", learn_prior=True)),
    ("mopoe", dict(prior_expert="never", networks="conv-encoders")),
    ("mwvae", dict(variant="unaligned", see_labels=False, weights="size")),
    ("mwvae", dict(variant="joint")),
    ("mwvae", dict(align="pairwise", gamma=3.0, cross=0.3)),
    ("fmwvae", dict(private=0)),
    ("fmwvae", dict(cross_style="row", style="another", styles=16, separate="hsic", align="pairwise")),
    ("fmwvae", dict(style="class", styles=300, separate="mmd", cross=0.0)),
]
EVERY = [*((name, {}) for name in sorted(installed_programs())), *MORE]
every_program = pytest.mark.parametrize(("name", "hyper"), EVERY, ids=str)


@pytest.fixture(autouse=True)
def digits_are_images(monkeypatch):
    """Also those of 8×8 are convolved."""
    monkeypatch.setattr(per_modality, "LEAST", 8)


@pytest.fixture(scope="module")
def of_three() -> Dataset:
    return read("digits-three").mask_at_random(rate=0.4, seed=3)


@pytest.fixture(scope="module")
def two_view() -> Dataset:
    data = read("digits-two-view")
    observed = {n: o.clone() for n, o in data.observed.items()}
    observed["noisy"][::3], observed["label"][::4], observed["rotated"][5] = False, False, False
    return dataclasses.replace(data, observed=observed)


@pytest.fixture
def data(name, of_three, two_view):
    return two_view if name == "cmmd" else of_three


def made(name, hyper, modalities):
    torch.manual_seed(0)
    fixed = {"observed": ("rotated",)} if name == "cmmd" else {}
    return load_program(name)(modalities, hidden=16, latent_dim=4, dropout=0.2, **fixed, **hyper).eval()


def rows(program, data, number=40):
    """Some that have what the program conditions on."""
    keep = torch.stack([data.observed[n] for n in program.conditions] or [torch.ones(len(data)).bool()]).all(0)
    return data.take(keep.nonzero().squeeze(-1)[:number])


def of_everything(program, data):
    """All numbers about everything, by both methods, given what each row has."""
    given = [n for n in program.encoded if program.modality(n).role == "modality"]
    want = ["z", "evidence", *program.targets()]
    found = {}
    for method in ("guide", "importance"):
        answer = ask(program, data, given=given, want=want, draws=30, method=method, keep_draws=True)
        for name, parts in answer.want.items():
            numbers = {key: np.asarray(x) for key, x in parts.items() if key not in ("classes", "predicted")}
            found |= {f"{method} {name} {key}": value for key, value in numbers.items()}
    return found


def agree(found, wanted):
    """To rounding."""
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=2e-4, atol=2e-5, equal_nan=True, err_msg=key)


@every_program
def test_the_order_of_the_rows_permutes_the_answers(name, hyper, data):
    program = made(name, hyper, data.modalities)
    some = rows(program, data)
    order = torch.randperm(len(some), generator=torch.Generator().manual_seed(1))
    permuted = {key: value[order.numpy()] for key, value in of_everything(program, some).items()}
    agree(of_everything(program, some.take(order)), permuted)


def dirty(data, filler):
    values = {n: x.clone() for n, x in data.values.items()}
    for n, x in values.items():
        x[~data.observed[n]] = filler if x.is_floating_point() else 1000
    return dataclasses.replace(data, values=values)


@pytest.mark.parametrize("filler", [1000.0, float("nan")])
@every_program
def test_fillers_change_no_bit(name, hyper, filler, data):
    """Loss and gradients in training mode, answers and metrics, with values overwritten after reading."""
    program, changed = made(name, hyper, data.modalities), dirty(data, filler)

    def training(dataset):
        torch.manual_seed(2)
        loss = program.train().objective(dataset.batch(torch.arange(64), program.encoded)).loss
        return [loss, *torch.autograd.grad(loss, list(program.parameters()))]

    assert all(torch.equal(a, b) for a, b in zip(training(data), training(changed)))
    program.eval()
    clean, filled = (of_everything(program, rows(program, d)) for d in (data, changed))
    for key, value in clean.items():
        assert np.array_equal(value, filled[key], equal_nan=True), key
    found = [evaluate(as_model(program, d), draws=2, metrics=["error", "rmse", "log_loss", "coverage90", "collapse"])
             for d in (data, changed)]  # fmt: skip
    assert found[0]["metrics"] == found[1]["metrics"] and found[0]["metrics"]["error.label"]


def turned(data):
    """The same data with its modalities in the opposite order."""
    order = data.modalities[::-1]
    values, observed = ({m.name: of[m.name] for m in order} for of in (data.values, data.observed))
    return dataclasses.replace(data, modalities=order, values=values, observed=observed)


def moved(program, other):
    """The weights of `program` in `other`, whose modalities are in another order."""
    weights = program.state_dict()

    def columns(weight, before, after):
        sizes = [program.modality(n).input_size for n in before]
        parts = dict(zip(before, weight.split(sizes, 1)))
        return torch.cat([parts[n] for n in after], 1)

    for key in ("joint.head.0.weight", "encoder.head.0.weight"):  # of networks that see everything at once
        if key in weights:
            weights[key] = columns(weights[key], program.encoded, other.encoded)
    if "log_exponents" in weights:
        weights["log_exponents"] = weights["log_exponents"][[program.encoded.index(n) for n in other.encoded]]
    other.load_state_dict(weights)
    return other


@every_program
def test_the_order_of_the_modalities_does_not_matter(name, hyper, data):
    """All answers to rounding; draws of a mixture name their component by its place, so there it is the distribution of
    the latent that must be the same."""
    program = made(name, hyper, data.modalities)
    if hyper.get("temper") == "learned":
        with torch.no_grad():
            program.log_exponents += torch.tensor([0.3, -0.2, 0.1])
    other = moved(program, made(name, hyper, data.modalities[::-1]))
    some = rows(program, data)
    both = ((program, some), (other, turned(some)))
    if name not in ("mmvae", "mopoe"):
        agree(*(of_everything(p, d) for p, d in both))
        return
    z = torch.randn(5, 40, 4, generator=torch.Generator().manual_seed(2))
    found = []
    for p, d in both:
        with torch.no_grad():
            q = pyro.poutine.trace(p.query_guide).get_trace(d.batch(torch.arange(40), p.encoded)).nodes["z"]["fn"]
            found.append(dict(mean=q.mean, variance=q.variance, density=q.log_prob(z)))
    agree(*found)


@every_program
def test_the_order_of_the_modalities_does_not_change_the_loss(name, hyper, data, monkeypatch):
    """With the same noise in every subset and component; a mixture's draw is averaged over its components."""
    if hyper.get("subsets") == "sampled":
        pytest.skip("draws subsets by their place")
    program = made(name, hyper, data.modalities)
    other = moved(program, made(name, hyper, data.modalities[::-1]))
    noise = torch.Generator().manual_seed(4)
    base = torch.rand(64, 8, generator=noise)

    def loss(p, d, choice):
        def uniform(shape, **kind):
            return (
                torch.full(shape, choice, **kind) if shape[-1] == 64 else base[:, : shape[-1]].expand(shape).to(**kind)
            )

        monkeypatch.setattr(torch, "rand", uniform)
        monkeypatch.setattr(torch, "randn", lambda shape, **kind: torch.special.ndtri(uniform(shape, **kind)))
        torch.manual_seed(5)  # rows shuffled by whom they are paired with
        with torch.no_grad():
            return p.objective(d.batch(torch.arange(64), p.encoded)).loss.item()

    choices = [(i + 0.5) / 21 for i in range(21)] if name == "mopoe" else [0.5]  # 1, 3 or 7 components
    ours, theirs = (
        np.mean([loss(p, d, choice) for choice in choices]) for p, d in ((program, data), (other, turned(data)))
    )
    assert theirs == pytest.approx(ours, rel=1e-5)
