"""Queries from several threads: each answer is that of one thread, to the bit."""

import threading
import time

import numpy as np
import pytest
import torch

import mmppl
from mmppl.inference import rows

pytestmark = pytest.mark.slow

QUESTIONS = (
    {"given": "image", "want": "label,word", "draws": 4},
    {"want": "z", "keep_draws": True, "draws": 4},
    {"want": "evidence", "draws": 8},
    {"given": "image", "want": "profile", "method": "importance", "draws": 8},
)


@pytest.fixture(scope="module")
def run():
    return mmppl.fit("mvae", "digits-three", hyper={"hidden": 8, "layers": 1, "latent_dim": 2}, epochs=1)


def numbers(answer):
    return {(n, k): np.asarray(v) for n, parts in answer.want.items() for k, v in parts.items() if k != "classes"}


def at_once(*works):
    errors = []

    def guarded(work):
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread waits for ever"
    if errors:
        raise errors[0]


def test_answers_are_those_of_one_thread_and_the_random_generator_stays(run):
    def ask(n):
        return numbers(run.query(rows=slice(n, n + 3), seed=n, **QUESTIONS[n % len(QUESTIONS)]))

    expected, found, before = [ask(n) for n in range(8)], {}, torch.get_rng_state()
    at_once(*(lambda t=t: found.update({(t, n): ask((n + t) % 8) for n in range(8)}) for t in range(4)))
    for (t, n), answer in found.items():
        want = expected[(n + t) % 8]
        assert answer.keys() == want.keys()
        assert all(np.array_equal(answer[k], want[k], equal_nan=want[k].dtype.kind == "f") for k in want)
    assert torch.equal(before, torch.get_rng_state())


def test_a_long_query_lets_a_short_one_go_first(run, monkeypatch):
    """It is asked in chunks of draws, between which others have their turns."""
    begun, over, short, add = threading.Event(), threading.Event(), [], rows._accumulate

    def accumulate(*words):
        add(*words)
        if threading.current_thread().name == "long":
            begun.set()
            time.sleep(0.1)  # so that the other waits for its turn

    def long():
        threading.current_thread().name = "long"
        run.query(rows=slice(0, 1), want="image", given="word", draws=20_000, quantiles=(), memory=20_000_000)
        over.set()

    def other():
        assert begun.wait(60)
        run.query(rows=slice(0, 1), want="label", draws=1)
        short.append(over.is_set())

    monkeypatch.setattr(rows, "_accumulate", accumulate)
    at_once(long, other)
    assert short == [False]


def test_loading_and_other_options_leave_the_generator_of_a_fit_alone(run, tmp_path):
    folder = mmppl.fit("mvae", "digits-three", hyper=run.hyper, epochs=1).save(tmp_path / "run").folder
    alone = mmppl.fit("mopoe", "digits-three", hyper=run.hyper, epochs=2, batch_size=100).program.state_dict()
    over, beside, loads = threading.Event(), [], []

    def fit():
        beside.append(mmppl.fit("mopoe", "digits-three", hyper=run.hyper, epochs=2, batch_size=100))
        over.set()

    def load():
        while not over.is_set():
            loads.append(mmppl.Run.load(folder))

    at_once(fit, load)
    assert loads
    for name, value in beside[0].program.state_dict().items():
        assert torch.equal(value, alone[name]), name
