"""The timing programs refuse to time what is not the same computation, and form their figures as they say."""

from pathlib import Path

import pytest
import torch


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "benchmarks"))


def test_the_figure_is_of_the_ratios_of_each_round(benchmarks):
    from harness import figure, ratio

    assert ratio([2.0, 40.0, 6.0], [1.0, 10.0, 3.0]).median == 2
    assert figure([1.0, 2.0, 3.0, 4.0, 5.0]) == (3, 2 / 3, 1, 5)


def test_candidates_take_turns(benchmarks):
    from harness import interleave

    heard = []
    times = interleave({name: lambda name=name: heard.append(name) for name in "ab"}, rounds=3, seconds=0)
    assert "".join(heard) == "aabb" + "ab" + "ba" + "ab"
    assert [len(values) for values in times.values()] == [3, 3]


def test_the_hand_written_model_is_ours(benchmarks):
    import fit_loop

    torch.manual_seed(0)
    training = fit_loop.our_training(fit_loop.synthetic(400), hidden=16)
    plain = fit_loop.Plain(16, fit_loop.Dropout)
    assert fit_loop.disagreement(training, plain, train=True) < fit_loop.TOLERANCE
    assert fit_loop.disagreement(training, fit_loop.Plain(16, torch.nn.Dropout), train=False) < fit_loop.TOLERANCE
    training.program.omega = 0.5  # after the recording: only the eager step sees it
    assert fit_loop.disagreement(training, plain, train=False) > fit_loop.TOLERANCE
