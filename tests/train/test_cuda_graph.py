"""The captured step: with a stand-in for CUDA graphs on the CPU, the real ones on a GPU."""

from functools import partial

import pytest
import torch

from mmppl import load_program, read
from mmppl.train.cuda_graph import WARM_UP, CapturedStep, cuda_graph
from mmppl.train.loop import Training as Epochs
from mmppl.train.optimiser import LRSchedule, adam, mutable_state
from mmppl.train.settings import FitSettings
from mmppl.train.step import Step

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.fixture(scope="module")
def data():
    return read("digits-three").mask_at_random(rate=0.3, seed=1)


def stand_in(work, state, spoil=lambda outcome: None):
    """Like a capture it leaves state and random numbers as they were; replays write into the first outcome."""
    kept, random = [t.clone() for t in state()], torch.get_rng_state()
    outcome = work()
    with torch.no_grad():
        for t, value in zip(state(), kept):
            t.copy_(value)
    torch.set_rng_state(random)

    def replay():
        again = work()
        spoil(again)
        outcome.loss.copy_(again.loss)
        for name, value in again.values.items():
            outcome.values[name].copy_(value)

    return replay, outcome


class Training:
    """Steps on digits, captured or from Python; on the CPU a "graph" runs its work again at each replay."""

    def __init__(self, data, device, graphs, spoil=lambda outcome: None, name="mvae"):
        torch.manual_seed(0)
        self.data, self.device, self.messages, self.spoil = data, device, [], spoil
        self.program = load_program(name)(data.modalities, hidden=16, dropout=0.2).to(device).train()
        self.optimiser = torch.optim.Adam(self.program.parameters(), torch.tensor(1e-2), capturable=device == "cuda")
        step = Step(self.program, replay=False)
        record = cuda_graph if device == "cuda" else self.stand_in
        self.step = CapturedStep(step, self.optimiser.step, self.state, log=self.messages.append, record=record)
        self.step.wanted = graphs

    def state(self):
        return mutable_state(self.program, [self.optimiser])

    def stand_in(self, work):
        return stand_in(work, self.state, self.spoil)

    def run(self, steps):
        torch.manual_seed(1)
        losses = []
        for i in range(steps):
            self.program.progress.fill_(i / steps)
            rows = torch.arange(40) + 7 * i if i != WARM_UP + 2 else torch.arange(11)  # one odd-sized batch in between
            batch = self.data.batch(rows, self.program.encoded)
            for part in (batch.values, batch.observed):
                part.update({name: t.to(self.device) for name, t in part.items()})
            object.__setattr__(batch, "index", batch.index.to(self.device))
            object.__setattr__(batch, "seen", batch.seen.to(self.device))
            losses.append(float(self.step(batch).loss))
        return losses, [p.detach().clone() for p in self.program.parameters()]


@pytest.mark.parametrize("name", ["mvae", "mopoe", "cmmd"])
@pytest.mark.parametrize("device", DEVICES)
def test_replays_are_the_steps_from_python(data, device, name):
    plain, captured = (Training(data, device, graphs, name=name) for graphs in (False, True))
    want, got = plain.run(WARM_UP + 6), captured.run(WARM_UP + 6)
    assert plain.step.replay is None and captured.step.replay is not None and captured.messages == []
    close = dict(rtol=0, atol=0) if device == "cpu" else dict(rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got, want, **close)


def test_a_replay_that_goes_astray_is_not_used(data):
    def spoil(outcome):
        outcome.loss.mul_(1.1)

    plain, captured = Training(data, "cpu", False), Training(data, "cpu", True, spoil)
    assert captured.run(WARM_UP + 4)[0] == plain.run(WARM_UP + 4)[0]
    (line,) = captured.messages
    assert line == "MVAE runs from Python, not as a CUDA graph: a replay does not repeat the step."


def test_what_cannot_be_captured_runs_from_python(data):
    plain, captured = Training(data, "cpu", False), Training(data, "cpu", True)

    def refuse(work):
        work()  # half of it has happened when a capture fails
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    captured.step.record = refuse
    want, got = plain.run(WARM_UP + 4), captured.run(WARM_UP + 4)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert captured.messages == [
        "MVAE runs from Python, not as a CUDA graph: RuntimeError: operation not permitted when stream is capturing"
    ]


@pytest.mark.parametrize("clip", [None, 0.5])
def test_the_epochs_of_a_fit_are_the_same_captured(data, clip):
    """The loop of `fit` itself, clipping and the last, smaller batch included."""
    settings = FitSettings(epochs=2, batch_size=300, lr=1e-2, clip=clip)

    def losses(captured):
        torch.manual_seed(0)
        program = load_program("mvae")(data.modalities, hidden=16)
        epochs = Epochs(program, data, settings)
        epochs.rows.patterns = None  # a GPU's steps leave nothing out
        epochs.stage = stage = epochs.stage_at(1)
        (evaluation,) = stage.evaluations
        if captured:
            state = partial(mutable_state, program, [optimiser for _, optimiser in stage.optimisers])
            step, record = Step(program, replay=False), partial(stand_in, state=state)
            evaluation.captured = CapturedStep(step, evaluation.moves, state, record=record)
        torch.manual_seed(1)
        epochs.run()
        assert not captured or evaluation.captured.replay is not None
        return [line["loss"] for line in epochs.lines], [p.detach().clone() for p in program.parameters()]

    want, got = losses(False), losses(True)
    assert got[0] == want[0] and all(torch.equal(a, b) for a, b in zip(got[1], want[1]))


def test_the_rate_of_a_captured_optimiser_stays_in_its_memory(data):
    program = load_program("mvae")(data.modalities, hidden=16)
    optimiser = adam(program, 0.1, torch.device("cpu"))
    rate = optimiser.param_groups[0]["lr"] = torch.tensor(0.1)
    LRSchedule([optimiser], FitSettings(), 4).set(2)
    assert optimiser.param_groups[0]["lr"] is rate and rate.item() == pytest.approx(0.05)
