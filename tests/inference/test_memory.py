"""How much memory a question is expected to take, and when that is measured."""

from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import torch

import mmppl
from mmppl.core.loading import load_program
from mmppl.inference import memory
from mmppl.inference.memory import Chunk, Estimate, chunk, estimate
from mmppl.inference.query import _trial, ask
from mmppl.inference.questions.question import Question, latent_sizes

MLP = dict(hidden=32, latent_dim=4)


def world(number: int, shape: tuple[int, ...], rows: int = 6) -> mmppl.Dataset:
    """Modalities in turn of numbers between 0 and 1 and of any, and a label."""
    rng = np.random.default_rng(0)
    draw = (rng.random, rng.normal)
    arrays = {f"m{i}": draw[i % 2](size=(rows, *shape)) for i in range(number)}
    return mmppl.read(arrays | {"label": np.arange(rows) % 3})


def program_of(name: str, data: mmppl.Dataset, **hyper) -> mmppl.Program:
    torch.manual_seed(0)
    return load_program(name)(data.modalities, **hyper).eval()


@pytest.mark.parametrize("method", ["guide", "importance"])
@pytest.mark.parametrize(
    ("name", "number", "shape", "hyper"),
    [
        (name, 2, (20,), MLP)
        for name in ("mvae", "jmvae", "mmvae", "mopoe", "mwvae", "fmwvae", "mmjsd", "mvtcae", "vcca")
    ]
    + [
        ("mvae", 3, (28, 28), {}),
        ("mvae", 6, (30,), {}),
        ("mopoe", 7, (5,), MLP),
        ("mvae", 2, (3, 32, 32), {"networks": "conv"}),
    ],
)
@torch.no_grad()
def test_the_estimate_is_no_less_than_what_a_trial_measures(name, number, shape, hyper, method):
    data = world(number, shape)
    program = program_of(name, data, **hyper)
    want = [*latent_sizes(program, data, ["m0"]), "m0", "m1", "label", "evidence"]
    question = Question.of(program, data, ["m0"], want, 64, method, 0, True, (0.05, 0.5), "fp32")
    few, more = (memory._allocated(partial(_trial, question), draws) for draws in memory.TRIAL)
    step = memory.TRIAL[1] - memory.TRIAL[0]
    per_draw, per_row = (sum(more) - sum(few)) / step, 2 * sum(few) - sum(more)
    found = estimate(program)
    assert found.fixed + 64 * found.per_draw >= per_row + 64 * per_draw
    assert found.largest >= max((m - f) // step for m, f in zip(more, few))


def test_a_trial_runs_only_where_the_estimate_comes_near_the_limit():
    tried = []

    def trial(draws):
        tried.append(draws)
        torch.empty(1000 * draws)

    small = Estimate(fixed=10**6, per_draw=4000, largest=4000)
    assert chunk(trial, small, 5, 64, 0, 10**9) == Chunk(5, 64) and not tried
    for rows, draws, held, most in ((1000, 64, 0, 10**9), (5, 64, 0, 3 * 10**6), (5, 64, 10**6, 10**9)):
        chunk(trial, small, rows, draws, held, most)
        assert tried == [*memory.TRIAL]
        tried.clear()
    chunk(trial, small._replace(largest=10**6), 5, 64, 0, 10**9)
    assert tried == [*memory.TRIAL]


@pytest.mark.parametrize("method", ["guide", "importance"])
def test_small_questions_are_computed_as_after_a_trial(method):
    """In one chunk, so the answers are the same to the bit."""
    data = world(2, (20,))
    program = program_of("mopoe", data, **MLP)
    options = dict(want=["z", "m0", "label", "evidence"], method=method)
    with patch("mmppl.inference.memory._allocated", side_effect=AssertionError("a trial")):
        at_once = ask(program, data, **options)
    with patch.object(Estimate, "near", lambda *_: True):
        tried = ask(program, data, **options)
    for name, parts in at_once.want.items():
        for key, value in parts.items():
            np.testing.assert_array_equal(tried[name][key], value, err_msg=f"{name} {key}")


@pytest.mark.parametrize(("want", "runs"), [("label", 1), ("m0, label", 1), ("z", 2)])
def test_the_guide_runs_once_for_an_answer(want, runs):
    """And once more where a latent is asked for, whose name and size only the guide knows."""
    data = world(2, (20,))
    program = program_of("mvae", data, **MLP)
    with patch.object(program, "query_guide", wraps=program.query_guide) as guide:
        ask(program, data, want=want)
    assert guide.call_count == runs
