"""Pyro's own tools on a program: every loss trains it, and what only looks at it works."""

import dataclasses

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import (
    MCMC,
    NUTS,
    SVI,
    Predictive,
    RenyiELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
)
from pyro.infer.inspect import generate_graph_specification, get_dependencies, get_model_relations

from mmppl import Batch, Modality, ObjectiveELBO, Program, fit, load_program, read
from mmppl.core.hyperparameters import hyper_parameters
from mmppl.core.loading import installed_programs

LOSSES = {
    "Trace_ELBO": lambda p: Trace_ELBO(),
    "Trace_ELBO, particles at once": lambda p: Trace_ELBO(
        num_particles=2, vectorize_particles=True, max_plate_nesting=2
    ),
    "TraceMeanField_ELBO": lambda p: TraceMeanField_ELBO(),
    "TraceGraph_ELBO": lambda p: TraceGraph_ELBO(),
    "TraceEnum_ELBO": lambda p: TraceEnum_ELBO(max_plate_nesting=2),
    "RenyiELBO": lambda p: RenyiELBO(num_particles=2),
    "ObjectiveELBO": ObjectiveELBO,
}


@pytest.fixture(autouse=True)
def empty_store():
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


def made(name, rows=16, **hyper):
    """A program with weights none of which is zero, so that every layer has a gradient, and a batch with holes."""
    data = read("digits-two-view" if name == "cmmd" else "digits-three")
    observed = {n: o.clone() for n, o in data.observed.items()}
    observed["label"][::4] = False
    data = dataclasses.replace(data, observed=observed)
    torch.manual_seed(0)
    cls = load_program(name)
    small = {key: value for key, value in dict(hidden=16, latent_dim=4).items() if key in hyper_parameters(cls)}
    program = cls(data.modalities, **small, **hyper)
    with torch.no_grad():
        for parameter in program.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return program, data.batch(torch.arange(rows), program.encoded)


def weights(program):
    return {n: p.detach().clone() for n, p in program.named_parameters()}


def idle_in(name, loss, weights):
    """The single posteriors are in JMVAE's objective, not in its ELBO. `factors` fits its classifiers afterwards, has
    its noise in `log_noise`, and sees no label in its objective. `dcca` reads labels alone off its codes, and sets its
    projections and probes in closed form after the stage that the objective belongs to."""
    idle = ()
    if name == "jmvae" and loss != "ObjectiveELBO":
        idle = ("encoders.",)
    if name == "mdm":  # it predicts labels alone, and vectors are sequences of one step: no state goes on
        idle = ("likelihood_parameters.", *(n for n in weights if n.endswith("weight_hh_l0")))
    if name == "factors":
        idle = ("classifiers.", "likelihood_parameters.profile.")
        idle += ("surrogates.label.", "log_noise.label") if loss == "ObjectiveELBO" else ()
    if name == "dcca":
        idle = ("likelihood_parameters.profile.",)
        idle += ("projections.", "probes.") if loss == "ObjectiveELBO" else ()
    return {n for n in weights if n.startswith(idle)} if idle else set()


@pytest.mark.filterwarnings("ignore:TraceEnum_ELBO found no sample sites")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", sorted(installed_programs()))
def test_a_step_of_svi_moves_the_weights(name, loss):
    """All but those that the loss has no use for (`idle_in`)."""
    program, batch = made(name)
    before = weights(program)
    found = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-3}), loss=LOSSES[loss](program)).step(batch)
    after = weights(program)
    still = {n for n in before if torch.equal(before[n], after[n])}
    assert torch.isfinite(torch.tensor(found)) and still == idle_in(name, loss, before)
    assert all(stored is dict(program.named_parameters())[key.partition("$$$")[2]]
               for key, stored in pyro.get_param_store().items())  # fmt: skip


def test_svi_learns():
    program, batch = made("mvae", rows=64)
    svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-2}), loss=TraceMeanField_ELBO())
    losses = [svi.step(batch) for _ in range(30)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_a_second_program_of_the_class_takes_the_place_of_the_first():
    """Pyro's store goes by name: without that, the second one would stand still."""
    for seed in range(2):
        program, batch = made("mvae")
        before = weights(program)
        SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-3}), loss=Trace_ELBO()).step(batch)
        assert not any(torch.equal(before[n], w) for n, w in weights(program).items()), seed


def test_weights_that_are_not_contiguous_move_and_frozen_ones_do_not():
    program, batch = made("mvae")
    weight = program.decoders["image"].network[0].weight
    weight.data = weight.data.T.contiguous().T
    program.decoders["word"].requires_grad_(False)
    before = weights(program)
    SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-3}), loss=Trace_ELBO()).step(batch)
    assert {n for n, w in weights(program).items() if torch.equal(before[n], w)} == {
        n for n in before if n.startswith("decoders.word")
    }


def test_elbo_modules_have_the_programs_parameters():
    program, batch = made("mvae")
    module = Trace_ELBO()(program.model, program.guide)
    assert [id(p) for p in module.parameters()] == [id(p) for p in program.parameters()]
    optimiser, before = torch.optim.Adam(module.parameters(), lr=1e-3), weights(program)
    module(batch).backward()
    optimiser.step()
    assert not any(torch.equal(before[n], w) for n, w in weights(program).items())
    assert not list(pyro.get_param_store().keys())
    assert not module.eval().training and not program.training


def test_nothing_is_stored_by_a_fit_a_query_or_a_trace(tmp_path):
    data = read("digits-three").take(torch.arange(0, 1797, 8))
    run = fit(load_program("mvae"), data, hyper=dict(hidden=8), epochs=1, out=tmp_path / "run")
    run.query(data, given=["image"], want=["z", "evidence"], draws=2)
    nodes = poutine.trace(run.program.model).get_trace(data.batch(torch.arange(4), run.program.encoded)).nodes
    assert not [n for n, site in nodes.items() if site["type"] == "param"]
    assert not list(pyro.get_param_store().keys())


def test_a_method_is_still_a_method():
    class Base(Program):
        def guide(self, batch, style="prior"):
            """What it says."""
            return "base", batch, style

    class Other(Base):
        def guide(self, batch, style="row"):
            return "other", *super().guide(batch, style)

    program = Other([Modality("x", (2,))])
    assert program.guide(3) == ("other", "base", 3, "row") and program.query_guide(
        4,
    ) == ("other", "base", 4, "row")
    assert Base.guide.__doc__ == "What it says." and Base.guide(program, 1) == ("base", 1, "prior")
    assert not list(program.children())[1:]  # none is a part of the program


@pytest.mark.parametrize("name", sorted(installed_programs()))
def test_the_graph_of_a_program(name):
    """What `render_model` draws, from as many rows as take the fast path of a layer."""
    program, batch = made(name, rows=300)
    relations = get_model_relations(program.model, (batch,))
    names = set(program.targets())
    assert set(relations["observed"]) == names
    assert names < set(relations["plate_sample"]["data"])
    latents = [n for n in relations["sample_sample"] if n not in names]
    for n in names:
        assert relations["sample_sample"][n] or name == "cmmd" and n == "label"  # from the mean of z: no draw
        assert set(relations["sample_sample"][n]) <= {*latents}
    if name == "fmwvae":
        assert set(relations["sample_sample"]["image"]) == {"z", "private.image"}
    graph = generate_graph_specification(relations)
    assert set(graph["node_data"]) >= {*names, "z"} and "data" in graph["plate_groups"]
    assert get_dependencies(program.model, (batch,))["posterior_dependencies"]["z"]
    assert set(get_model_relations(program.guide, (batch,))["sample_sample"]) == {*latents}


def test_the_graph_of_convolutions():
    photo, text = Modality("photo", (3, 32, 32), "laplace"), Modality("text", (8,), "categorical", classes=("a", "b"))
    program = load_program("mvae")([photo, text], networks="conv", channels=8, hidden=8)
    values = {"photo": torch.rand(2, 3, 32, 32), "text": torch.zeros(2, 8, dtype=torch.int64)}
    observed = {n: torch.ones(2, dtype=torch.bool) for n in values}
    batch = Batch(values, observed, torch.arange(2), 2, program.encoded)
    assert get_model_relations(program.model, (batch,))["sample_sample"]["photo"] == ["z"]


@pytest.mark.parametrize("parallel", [False, True])
def test_predictive(parallel):
    program, batch = made("mvae")
    wanting = batch.wanting(["word"], ["image"])
    found = Predictive(program.model, guide=program.guide, num_samples=3, parallel=parallel)(wanting)
    assert found["z"].reshape(3, 16, 4).isfinite().all()
    assert found["word"].shape[0] == 3 and found["word"].numel() == 3 * 16 * program.modality("word").size


def test_condition_and_replay():
    program, batch = made("mvae")
    z = torch.randn(16, 4)
    nodes = poutine.trace(poutine.condition(program.model, data={"z": z})).get_trace(batch).nodes
    assert nodes["z"]["is_observed"] and torch.equal(nodes["z"]["value"], z)
    torch.testing.assert_close(
        nodes["image"]["fn"].mean.flatten(1), program.decoders["image"](z).sigmoid(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.slow
def test_nuts_finds_the_posterior_of_an_exact_model():
    """z given x in a linear-Gaussian world; 150 draws of few rows, 6 standard errors of an independent draw."""
    from reference.linear_gaussian import World, batch_of, exact_mvae

    torch.set_default_dtype(torch.float64)
    try:
        world = World.make({"a": 3, "b": 2}, 2, orthogonal=True)
        data = world.sample(3)
        program = exact_mvae(world)
        sampler = MCMC(NUTS(program.model, jit_compile=False), num_samples=150, warmup_steps=80, disable_progbar=True)
        sampler.run(batch_of(data, program.encoded))
        z = sampler.get_samples()["z"]
        mean, covariance = world.posterior(data.values, ["a", "b"])
        assert ((z.mean(0) - mean).abs() < 6 * (covariance.diagonal() / 150).sqrt()).all()
    finally:
        torch.set_default_dtype(torch.float32)
