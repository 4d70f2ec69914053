"""The captured step: with a stand-in for CUDA graphs on the CPU, the real ones on a GPU."""

import pytest
import torch

from mmppl import load_program, read
from mmppl.capture import WARM_UP, CapturedStep, cuda_graph
from mmppl.step import Step

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.fixture(scope="module")
def data():
    return read("digits-three").hide(rate=0.3, seed=1)


class Training:
    """Steps on digits, captured or from Python; on the CPU a "graph" runs its work again at each replay."""

    def __init__(self, data, device, graphs, spoil=lambda outcome: None, name="mvae"):
        torch.manual_seed(0)
        self.data, self.device, self.said, self.spoil = data, device, [], spoil
        self.program = load_program(name)(data.modalities, hidden=16, dropout=0.2).to(device).train()
        self.optimiser = torch.optim.Adam(self.program.parameters(), torch.tensor(1e-2), capturable=device == "cuda")
        step = Step(self.program, replay=False)
        record = cuda_graph if device == "cuda" else self.stand_in
        self.step = CapturedStep(step, self.optimiser.step, self.state, say=self.said.append, record=record)
        self.step.wanted = graphs

    def state(self):
        moments = [t for state in self.optimiser.state.values() for t in state.values()]
        return [*self.program.parameters(), *self.program.buffers(), *moments]

    def stand_in(self, work):
        """Like a capture it leaves state and random numbers as they were; replays write into the first outcome."""
        kept, random = [t.clone() for t in self.state()], torch.get_rng_state()
        outcome = work()
        with torch.no_grad():
            for t, value in zip(self.state(), kept):
                t.copy_(value)
        torch.set_rng_state(random)

        def replay():
            again = work()
            self.spoil(again)
            outcome.loss.copy_(again.loss)
            for name, value in again.values.items():
                outcome.values[name].copy_(value)

        return replay, outcome

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
    assert plain.step.replay is None and captured.step.replay is not None and captured.said == []
    close = dict(rtol=0, atol=0) if device == "cpu" else dict(rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got, want, **close)


def test_a_replay_that_goes_astray_is_not_used(data):
    def spoil(outcome):
        outcome.loss.mul_(1.1)

    plain, captured = Training(data, "cpu", False), Training(data, "cpu", True, spoil)
    assert captured.run(WARM_UP + 4)[0] == plain.run(WARM_UP + 4)[0]
    (line,) = captured.said
    assert line == "MVAE runs from Python, not as a CUDA graph: a replay does not repeat the step."


def test_what_cannot_be_captured_runs_from_python(data):
    plain, captured = Training(data, "cpu", False), Training(data, "cpu", True)

    def refuse(work):
        work()  # half of it has happened when a capture fails
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    captured.step.record = refuse
    want, got = plain.run(WARM_UP + 4), captured.run(WARM_UP + 4)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    assert captured.said == [
        "MVAE runs from Python, not as a CUDA graph: RuntimeError: operation not permitted when stream is capturing"
    ]
