"""The recorded step gives the eager step's bits, follows buffers and weights, and falls back with a reason."""

import itertools
from dataclasses import replace

import pyro
import pytest
import torch
from torch import nn

from mmppl import Program, Terms, load_program, read
from mmppl.core.row_selection import MissingnessPatterns
from mmppl.distributions.gaussian import Gaussian, standard_normal
from mmppl.modalities.subsets import random_subsets
from mmppl.train.step import Step


@pytest.fixture(scope="module")
def data():
    return read("digits-three").mask_at_random(rate=0.3, seed=1)


def small(name, **options):
    """An installed program with dropout and few hidden units."""
    return lambda modalities: load_program(name)(modalities, hidden=16, dropout=0.2, **options)


MANY = dict(subsets="sampled", scored="seen", extra=2, temper="learned", warm_up=0.5)


def steps(data, replay, precision="fp32", number=5, cls=small("mvae"), messages=None, patterns=None):
    torch.manual_seed(0)
    program = cls(data.modalities).train()
    step = Step(program, replay=replay, precision=precision, log=([] if messages is None else messages).append)
    optimiser = torch.optim.Adam(program.parameters(), 1e-2, fused=True)
    losses = []
    for i in range(number):
        rows = torch.arange(40) + 7 * i if i != 3 else torch.arange(11)  # one odd-sized batch in between
        program.progress.fill_(i / number)
        losses.append(step(replace(data.batch(rows, program.encoded), patterns=patterns)).loss.item())
        optimiser.step()
    return losses, [p.detach() for p in program.parameters()], step


RECORDED = {
    "mvae": small("mvae"),
    "mvae-options": small("mvae", **MANY),
    "jmvae": small("jmvae", warm_up=0.5),
    "mmvae": small("mmvae"),
    "mwvae": small("mwvae"),
    "mwvae-unaligned": small("mwvae", variant="unaligned"),
    "mmjsd": small("mmjsd", private=2, prior_component=True),
    "mvtcae": small("mvtcae"),
    "mvtcae-both": small("mvtcae", towards="both", prior_expert="never"),
    "ima": small("ima"),
    "ima-hsic": small("ima", dependence="hsic", through_z=True),
    "dae": small("dae"),
    "vcca": small("vcca"),
    "vcca-views": small("vcca", views="all", warm_up=0.5),
    "dcca": small("dcca", reconstruct=0.5),
    "fmwvae-hsic": small("fmwvae", separate="hsic", styles=50),
    "fmwvae-mmd": small("fmwvae", separate="mmd", cross_style="row", align="pairwise"),
}
RARELY = {"mvae-options", "fmwvae-mmd", "fmwvae-hsic", "mwvae-unaligned", "ima-hsic", "dae"}
RARELY |= {"mmjsd", "mvtcae", "mvtcae-both"}


def recordings():
    """Every program in both precisions, packed or not; those that take longest only in a slow run."""
    for name, precision, packed in itertools.product(RECORDED, ["fp32", "bf16"], [False, True]):
        rarer = not packed or precision == "bf16"
        rarer = rarer or name in RARELY or name.startswith(("vcca", "dcca"))
        yield pytest.param(
            RECORDED[name], precision, packed, id=f"{name}-{precision}-{packed}", marks=[pytest.mark.slow] * rarer
        )


@pytest.mark.parametrize(("cls", "precision", "packed"), list(recordings()))
def test_a_recorded_step_has_the_bits_of_the_eager_one(data, cls, precision, packed):
    patterns = MissingnessPatterns.of(data.observed) if packed else None
    eager, weights, _ = steps(data, False, precision, cls=cls, patterns=patterns)
    replayed, same, step = steps(data, True, precision, cls=cls, patterns=patterns)
    assert step.recorded is not None
    assert eager == replayed and all(torch.equal(a, b) for a, b in zip(weights, same))


class Warm(Program):
    """A KL weight that follows the clock, as a tensor inside the value; and running state in a buffer."""

    def __init__(self, modalities):
        super().__init__(modalities)
        self.net = nn.Linear(64, 4)
        self.register_buffer("calls", torch.zeros(()))

    def guide(self, batch):
        loc, log_var = self.net(batch.input(self.modality("image"))).chunk(2, -1)
        with batch.plates():
            pyro.sample("z", Gaussian(loc, log_var))

    def model(self, batch):
        with batch.plates():
            pyro.sample("z", standard_normal(2))

    def objective(self, batch):
        from mmppl import kl, trace

        self.calls += 1
        return Terms({"kl.z": (self.progress * kl(trace(self, batch))["kl.z"][0] + self.calls, 1.0)})


class Weighted(Warm):
    """A KL weight that is a tensor: it moves with the clock in a recording, too."""

    def objective(self, batch):
        from mmppl import kl, trace

        return kl(trace(self, batch), self.progress)


class Drawing(Warm):
    """Tells which subset of six it has drawn."""

    def objective(self, batch):
        subset = random_subsets(6, 1, batch.index.device)
        return super().objective(batch) | Terms({"drawn": ((subset * 2.0 ** torch.arange(6)).sum(), 0.0)})


class Branching(Warm):
    """Reads a tensor's value: cannot be recorded."""

    def objective(self, batch):
        return super().objective(batch) if float(self.progress) >= 0 else Terms()


class Counting(Warm):
    """Keeps Python state, which a recording would freeze: not caught by an exception but by comparing the bits."""

    count = 0

    def objective(self, batch):
        self.count += 1
        return Terms({n: (v * self.count, w) for n, (v, w) in super().objective(batch).items()})


@pytest.mark.parametrize("cls", [Warm, Weighted])
def test_a_recording_follows_progress_and_buffers(data, cls):
    eager, weights, _ = steps(data, False, cls=cls)
    replayed, same, step = steps(data, True, cls=cls)
    assert step.recorded is not None and eager == replayed
    assert all(torch.equal(a, b) for a, b in zip(weights, same))


def test_a_recording_draws_other_subsets_in_each_step(data):
    """As the eager step does; 20 draws from 56 subsets of 2 to 5 of 6 are alike with probability below 1e-20."""

    def drawn(replay):
        torch.manual_seed(0)
        step = Step(program := Drawing(data.modalities).train(), replay=replay)
        found = [int(step(data.batch(torch.arange(40), program.encoded)).values["drawn"]) for _ in range(20)]
        assert (step.recorded is not None) == replay
        return found

    assert drawn(True) == drawn(False) and len(set(drawn(True))) > 5


@pytest.mark.parametrize(
    ("cls", "why"), [(Branching, "value out of a tracing tensor"), (Counting, "does not repeat the eager step")]
)
def test_what_cannot_be_recorded_runs_eagerly_with_a_reason(data, cls, why):
    messages = []
    _, _, step = steps(data, True, cls=cls, messages=messages)
    assert step.recorded is None and len(messages) == 1 and why in messages[0]


@pytest.mark.parametrize("error", [AssertionError(), NotImplementedError("\n")], ids=repr)
def test_a_recording_that_fails_without_a_word_runs_eagerly_too(data, monkeypatch, error):
    def fails(*arguments):
        raise error

    monkeypatch.setattr("torch.fx.experimental.proxy_tensor.make_fx", lambda step: fails)
    messages = []
    _, _, step = steps(data, True, cls=Warm, messages=messages)
    assert step.recorded is None and len(messages) == 1
    assert messages[0].endswith(f"{type(error).__name__}: no reason given")


RARER = ("jmvae", "mwvae", "fmwvae", "vcca")  # small ones of which are recorded above


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cmmd", {"kernel": "mixture"}),
        *(
            pytest.param(*of, marks=pytest.mark.slow)
            for of in (("cmmd", {"kernel": "paper"}), ("mvae", {}), ("mvae", MANY), *((n, {}) for n in RARER))
        ),
    ],
    ids=str,
)
def test_the_installed_programs_are_recorded(name, options):
    cls = load_program(name)
    data = read(cls.default_data)
    program = cls(data.modalities, hidden=8, **options).train()
    messages = []
    step = Step(program, log=messages.append)
    for _ in range(2):
        step(data.batch(torch.arange(64), program.encoded))
    assert step.recorded is not None and not messages


class Measuring(Warm):
    """Numbers that differ from batch to batch, taken from tensors in ways that tracing does not notice."""

    def objective(self, batch):
        terms = super().objective(batch)
        x = batch.value("image")[batch.observed["image"]]
        terms["mean"] = (x.sum() / len(x) * self.net.weight.square().mean(), 1.0)
        return terms


class Listed(Warm):
    def objective(self, batch):
        terms = super().objective(batch)
        return terms | {"again": (terms["kl.z"][0], self.progress.tolist())}


class Shaped(Warm):
    def objective(self, batch):
        terms = super().objective(batch)
        rows = batch.observed["image"].nonzero().flatten()
        x = batch.value("image").index_select(0, rows).flatten(1)
        return terms | {"net": (self.net(x).view(len(rows), -1).square().mean(), 1.0)}


@pytest.mark.parametrize("cls", [Measuring, Listed, Shaped])
def test_a_recording_that_holds_on_to_its_batch_is_thrown_away(data, cls):
    messages = []
    eager, _, _ = steps(data, False, cls=cls)
    replayed, _, step = steps(data, True, cls=cls, messages=messages)
    assert replayed == eager
    assert step.recorded is None and len(messages) == 1 and "runs step by step" in messages[0]


class Foreign(Program):
    """Pyro's own Normal around a plain network: under autocast its log-densities are in bfloat16."""

    def __init__(self, modalities):
        super().__init__(modalities)
        self.net = nn.Linear(64, 4)

    def guide(self, batch):
        loc, log_sd = self.net(batch.input(self.modality("image"))).chunk(2, -1)
        with batch.plates():
            pyro.sample("z", pyro.distributions.Normal(loc, log_sd.exp()).to_event(1))

    def model(self, batch):
        with batch.plates():
            zero = self.net.weight.new_zeros(2)
            pyro.sample("z", pyro.distributions.Normal(zero, zero + 1).to_event(1))

    def objective(self, batch):
        from mmppl import kl, trace

        return kl(trace(self, batch))


def test_terms_are_summed_in_float32_under_autocast(data):
    torch.manual_seed(0)
    program = Foreign(data.modalities).train()
    outcome = Step(program, precision="bf16")(data.batch(torch.arange(40), program.encoded))
    assert outcome.loss.dtype == torch.float32 and outcome.values["kl.z"].dtype == torch.float32


@pytest.mark.parametrize(
    "name", ["mvae", *(pytest.param(n, marks=pytest.mark.slow) for n in ("mopoe", "mmvae", "fmwvae"))]
)
def test_batches_with_and_without_holes_take_turns(name):
    """What was recorded for whole batches serves those alone."""
    data = read("digits-three")
    holes = torch.rand(len(data), generator=torch.Generator().manual_seed(0)) < 0.5
    holes &= torch.arange(len(data)) % 100 >= 60
    data = replace(data, observed=dict(data.observed) | {"profile": ~holes})
    found = []
    for replay in (True, False):
        torch.manual_seed(0)
        program = small(name)(data.modalities).train()
        step = Step(program, replay=replay)
        optimiser = torch.optim.Adam(program.parameters(), 1e-2, fused=True)
        losses = []
        for first in (0, 10, 20, 60, 0, 160, 110):
            losses.append(step(data.batch(torch.arange(40) + first, program.encoded)).loss.item())
            optimiser.step()
        assert (step.recorded_whole is not None) == replay
        found.append((losses, [p.detach() for p in program.parameters()]))
    assert found[0][0] == found[1][0] and all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))
