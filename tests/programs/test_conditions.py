"""Conditions in every program: exact in a linear-Gaussian world, and without a trace in the latent."""

import dataclasses

import numpy as np
import pytest
import torch
from pyro import poutine

import mmppl
from mmppl import Dataset, Modality, UsageError, load_program
from mmppl.core.loading import installed_programs
from mmppl.inference.query import ask
from mmppl.testing import check_program, laws
from mmppl.testing.linear_gaussian import CONDITION, World, exact
from mmppl.testing.samples import small_data

SIZES = {"a": 4, "b": 3}
PROGRAMS = [name for name in sorted(installed_programs()) if load_program(name).takes_covariates]


@pytest.fixture(autouse=True)
def in_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def world() -> World:
    return World.make(SIZES, 2, orthogonal=True, condition=2)


@pytest.mark.parametrize(("name", "posteriors"), [("mvae", False), ("jmvae", True)])
def test_posterior_evidence_and_prediction_given_a_condition_are_exact(world, name, posteriors):
    program, data = exact(load_program(name), world, posteriors=posteriors), world.sample(6)
    z, _ = world.posterior(data.values, ["a"])
    batch = data.batch(torch.arange(6), program.encoded).seeing(["a"])
    guide = poutine.trace(program.query_guide).get_trace(batch)
    torch.testing.assert_close(guide.nodes["z"]["fn"].mean, z, rtol=0, atol=1e-10)
    evidence = ask(program, data, given="a", want="evidence", draws=4)["evidence"]["nats"]
    np.testing.assert_allclose(evidence, world.log_evidence(data.values, ["a"]), atol=1e-8)  # no weight varies


@pytest.mark.parametrize("method", ["guide", "importance"])
def test_setting_a_condition_moves_a_linear_prediction_by_its_effect_alone(world, method):
    program, data = exact(load_program("mvae"), world), world.sample(5)
    there = [0.3, -1.2]
    own = ask(program, data, given="a", want=["z", "b"], draws=4, method=method)
    moved = ask(program, data, given="a", want=["z", "b"], draws=4, method=method, set_condition={CONDITION: there})
    effect = (torch.tensor(there) - data.values[CONDITION]) @ world.effects["b"].T
    np.testing.assert_allclose(moved["b"]["mean"] - own["b"]["mean"], effect, atol=1e-10)
    np.testing.assert_array_equal(moved["z"]["mean"], own["z"]["mean"])
    assert any("predicted as if it were" in line for line in moved.warnings)


def with_conditions() -> Dataset:
    """A small image, signal, word and label, and a class and a vector that a fifth of the rows lack."""
    data, rng = small_data(), torch.Generator().manual_seed(3)
    more = {"site": torch.randint(0, 3, (len(data),), generator=rng), "age": torch.randn(len(data), 2, generator=rng)}
    seen = {name: torch.rand(len(data), generator=rng) > 0.2 for name in more}
    site = Modality("site", (), "categorical", role="condition", classes=("p", "q", "r"))
    age = Modality("age", (2,), "normal", role="condition")
    modalities = (site, *data.modalities, age)
    values = {name: v.to(torch.get_default_dtype()) if v.is_floating_point() else v for name, v in more.items()}
    return dataclasses.replace(data, modalities=modalities, values=data.values | values, observed=data.observed | seen)


def test_what_lies_under_a_condition_that_a_row_lacks_does_not_matter():
    torch.set_default_dtype(torch.float32)
    data = with_conditions().take(torch.arange(12))
    program = load_program("jmvae")(data.modalities, hidden=8, layers=1, latent_dim=2).eval()
    laws.fillers(program, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_that_takes_conditions_obeys_the_laws_with_them(name):
    torch.set_default_dtype(torch.float32)
    first = {"cmmd": "observed", "vcca": "views"}
    data, own = with_conditions(), {first[name]: ("image",)} if name in first else {}
    if name == "mdm":  # its weights follow the order of the modalities, of which test_mdm.py has the law
        program = load_program(name)(data.modalities).eval()
        for law in (laws.finite_gradients, laws.fillers, laws.rows_alone, laws.order_of_rows):
            law(program, data.take(program.usable(data.observed).nonzero().squeeze(-1)))
    else:
        assert "fillers" in check_program(load_program(name), data=data, **own)


@pytest.mark.slow
@pytest.mark.parametrize("networks", ["conv", "gru", "conv1d", "transformer"])
def test_networks_that_are_no_mlps_see_conditions_too(networks):
    torch.set_default_dtype(torch.float32)
    data = with_conditions()
    site = data.observed["site"] & data.observed["image"]
    image = torch.rand(len(data), 16, 16)
    data = dataclasses.replace(
        data, values=data.values | {"image": image},
        modalities=tuple(dataclasses.replace(m, shape=(16, 16)) if m.name == "image" else m for m in data.modalities),
    )  # fmt: skip
    program = load_program("mvae")(data.modalities, networks=networks, channels=8, hidden=8, latent_dim=2).eval()
    other = dataclasses.replace(data, values=data.values | {"site": (data.values["site"] + 1) % 3})
    codes = []
    for rows in (data, other):
        batch = rows.batch(torch.arange(len(data)), program.encoded)
        codes.append(program.encoders["image"](batch.input(program.modality("image"))))
    changed = (codes[0] != codes[1]).any(-1)
    assert changed[site].all() and not changed[~data.observed["site"]].any()
    laws.fillers(program, data)


def test_rows_that_lack_one_cell_of_a_condition_are_told():
    torch.set_default_dtype(torch.float32)
    data = with_conditions()
    gaps = tuple(dataclasses.replace(m, gaps=m.name == "age") for m in data.modalities)
    there = data.observed["age"].unsqueeze(-1).repeat(1, 2)
    there[int(there[:, 0].nonzero()[0]), 0] = False
    data = dataclasses.replace(data, modalities=gaps, present={"age": there})
    program = load_program("mvae")(data.modalities, hidden=8, layers=1, latent_dim=2).eval()
    warnings = ask(program, data, given="image", want="signal", draws=2).warnings
    lacking = int((~data.observed["age"]).sum()) + 1
    assert any(line.startswith(f"age: {lacking} of {len(data)} rows lack this condition or cells") for line in warnings)


def test_conditions_are_not_asked_about_and_unknown_ones_are_told():
    torch.set_default_dtype(torch.float32)
    data = with_conditions()
    program = load_program("mvae")(data.modalities, hidden=8, layers=1, latent_dim=2).eval()
    model = mmppl.FittedModel(program, data=data)
    assert model.modalities == data.modalities
    answer = model.query(given="image", want="signal", draws=2, split="all")
    assert any(line.startswith("site: ") and "lack this condition" in line for line in answer.warnings)
    for asked, words in (
        (dict(given="site", want="signal"), "site is a condition"),
        (dict(want="age"), "age is a condition"),
        (dict(want="signal", set_condition={"sit": "p"}), "Did you mean site"),
        (dict(want="signal", set_condition={"site": "s"}), "no class 's'; there are p, q, r"),
        (dict(want="signal", set_condition={"age": "1"}), "expected 2 values, not 1"),
        (dict(want="signal", set_condition={"age": "1,old"}), "expected numbers"),
        (dict(given="image", want="evidence", set_condition={"site": "p"}), "under their own conditions"),
        (dict(want="z", set_condition={"site": "p"}), "only latents are wanted"),
        (dict(want="signal", set_condition={"site": "p"}, only_missing=True), "leave out --set-condition"),
    ):
        with pytest.raises(UsageError, match=words):
            model.query(split="all", draws=2, **asked)


@pytest.mark.slow
def test_with_a_condition_the_latent_does_not_carry_the_batch():
    """Two batches, shifted apart by 3 standard deviations. A linear probe of draws of the latent finds the batch
    without the condition; with it, it is at chance: below 0.6 of 400 rows (0.5 + 4 standard errors). Draws, since a
    probe of means would find a trace of any size in dimensions that are not used."""
    torch.set_default_dtype(torch.float32)
    rng = np.random.default_rng(0)
    n = 800
    z, batch = rng.normal(size=(n, 2)), rng.integers(0, 2, n)
    arrays = {
        name: z @ rng.normal(size=(2, size)) + 3 * (batch[:, None] - 0.5) * rng.normal(size=size)
        + 0.3 * rng.normal(size=(n, size))
        for name, size in SIZES.items()
    }  # fmt: skip
    found = {}
    for role in ("condition", "ignore"):
        data = mmppl.read(arrays | {"batch": batch}, as_={"batch": role})
        run = mmppl.fit("mvae", data, hyper={"latent_dim": 4, "hidden": 32}, epochs=60, lr=5e-3, calibrate=False)
        codes = run.query(data, given=["a", "b"], want="z", draws=1, keep_draws=True, split="all")["z"]["draws"][:, 0]
        design = np.c_[codes, np.ones(n)]
        half = n // 2
        weights = np.linalg.lstsq(design[:half], 2.0 * batch[:half] - 1, rcond=None)[0]
        found[role] = ((design[half:] @ weights > 0) == batch[half:]).mean()
    assert found["condition"] < 0.6 and found["ignore"] > 0.8
