"""The recorded step gives the eager step's bits, follows buffers and weights, and falls back with a reason."""

from dataclasses import replace

import pyro
import pytest
import torch
from torch import nn

from mmppl import Program, Terms, load_program, read
from mmppl.gaussian import Gaussian, standard_normal
from mmppl.packing import Patterns
from mmppl.step import Step


@pytest.fixture(scope="module")
def data():
    return read("digits-three").hide(rate=0.3, seed=1)


def steps(data, replay, precision="fp32", number=5, cls=None, said=None, patterns=None):
    torch.manual_seed(0)
    program = (cls or load_program("mvae"))(data.modalities, **({} if cls else dict(hidden=16, dropout=0.2))).train()
    step = Step(program, replay=replay, precision=precision, say=([] if said is None else said).append)
    optimiser = torch.optim.Adam(program.parameters(), 1e-2, fused=True)
    losses = []
    for i in range(number):
        rows = torch.arange(40) + 7 * i if i != 3 else torch.arange(11)  # one odd-sized batch in between
        program.progress.fill_(i / number)
        losses.append(step(replace(data.batch(rows, program.encoded), patterns=patterns)).loss.item())
        optimiser.step()
    return losses, [p.detach() for p in program.parameters()], step


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_recorded_step_has_the_bits_of_the_eager_one(data, precision, packed):
    patterns = Patterns.of(data.observed) if packed else None
    eager, weights, _ = steps(data, False, precision, patterns=patterns)
    replayed, same, step = steps(data, True, precision, patterns=patterns)
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


@pytest.mark.parametrize(
    ("cls", "why"), [(Branching, "value out of a tracing tensor"), (Counting, "does not repeat the eager step")]
)
def test_what_cannot_be_recorded_runs_eagerly_and_says_why(data, cls, why):
    said = []
    _, _, step = steps(data, True, cls=cls, said=said)
    assert step.recorded is None and len(said) == 1 and why in said[0]


@pytest.mark.parametrize(
    ("name", "options"), [("cmmd", {"kernel": "paper"}), ("cmmd", {"kernel": "mixture"}), ("mvae", {})], ids=str
)
def test_the_installed_programs_are_recorded(name, options):
    cls = load_program(name)
    data = read(cls.default_data)
    program = cls(data.modalities, hidden=8, **options).train()
    said = []
    step = Step(program, say=said.append)
    for _ in range(2):
        step(data.batch(torch.arange(64), program.encoded))
    assert step.recorded is not None and not said
