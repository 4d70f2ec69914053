"""Fits in threads: beside queries and each other they give their own bits; and how many threads share a computation."""

import threading

import pytest
import torch

from mmppl import Callback, UsageError, fit, load_program, read
from mmppl.runs.record import read_record
from mmppl.train.threads import SMALL, choose_threads, work_of_row

pytestmark = pytest.mark.slow

TINY = dict(hidden=8, layers=1, latent_dim=2)


@pytest.fixture(scope="module")
def data():
    whole = read("digits-three", hide=0.2)
    return whole.take(torch.arange(400))


def bits(run):
    return b"".join(value.numpy().tobytes() for value in run.program.state_dict().values())


def at_once(*works):
    threads = [threading.Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread waits for ever"


@pytest.mark.slow
def test_fits_beside_each_other_and_a_query_give_the_bits_of_one_alone(data):
    """mvae draws for its latent, fmwvae also in Python; one of them validates, one records its step."""
    asked = fit("mvae", data, hyper=TINY, epochs=1)
    settings = {"mvae": dict(batch_size=100, epochs=2), "fmwvae": dict(batch_size=4, epochs=2)}
    alone = {name: bits(fit(name, data, hyper=TINY, **words)) for name, words in settings.items()}
    expected = asked.query(want="label", rows=slice(3), draws=4)["label"]["prob"]
    beside, over, wrong = {}, threading.Event(), []

    def ask():
        while not over.is_set():
            over.wait(0.02)
            if (asked.query(want="label", rows=slice(3), draws=4)["label"]["prob"] != expected).any():
                wrong.append(1)

    def fits():
        at_once(
            *(lambda n=n, w=w: beside.update({n: bits(fit(n, data, hyper=TINY, **w))}) for n, w in settings.items())
        )
        over.set()

    at_once(ask, fits)
    assert beside == alone and not wrong


def test_a_callback_may_wait_for_a_thread_that_queries(data):
    other, answers = fit("mvae", data, hyper=TINY, epochs=1), []

    class Asks(Callback):
        def on_epoch(self, fit, line):
            at_once(lambda: answers.append(other.query(want="label", rows=slice(2), draws=2)))

    lines = []

    def log(message):
        at_once(lambda: lines.append((message, other.query(want="label", rows=slice(1), draws=1))))

    run = fit("mvae", data, hyper=TINY, epochs=2, callbacks=[Asks()], log=log)
    assert len(answers) == 2 and lines
    assert bits(run) == bits(fit("mvae", data, hyper=TINY, epochs=2))


def test_threads_are_kept_in_the_run_and_the_callers_left_as_they_were(data):
    before, seen = torch.get_num_threads(), []

    class Look(Callback):
        def on_epoch(self, fit, line):
            seen.append(torch.get_num_threads())

    run = fit("mvae", data, hyper=TINY, epochs=1, threads=before + 1, callbacks=[Look()])
    assert (run.record.threads, seen, torch.get_num_threads()) == (before + 1, [before + 1], before)
    with pytest.raises(UsageError, match="^threads 0 is not between 1 and 1024"):
        fit("mvae", data, hyper=TINY, epochs=1, threads=0)


def test_a_resumed_fit_has_the_threads_it_began_with_unless_told_otherwise(data, tmp_path):
    class Stop(Callback):
        def on_epoch(self, fit, line):
            raise KeyboardInterrupt

    def begun(name):
        with pytest.raises(KeyboardInterrupt):
            fit("mvae", data, hyper=TINY, epochs=2, threads=2, out=tmp_path / name, callbacks=[Stop()])

    begun("a"), begun("b")
    quiet, told = [], []
    log = lambda heard: lambda event: heard.append(event) if isinstance(event, str) else None  # noqa: E731
    same = fit("mvae", data, hyper=TINY, epochs=2, out=tmp_path / "a", resume=True, log=log(quiet))
    other = fit("mvae", data, hyper=TINY, epochs=2, out=tmp_path / "b", resume=True, threads=1, log=log(told))
    assert same.record.threads == 2 and not any("--threads" in line for line in quiet)
    assert other.record.threads == 1 == read_record(tmp_path / "b").threads
    (line,) = [line for line in told if "--threads" in line]
    assert "began with --threads 2" in line and "bits" in line


def test_a_small_network_gets_one_thread_and_a_large_one_what_pytorch_has(data, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    small = load_program("mvae")(data.modalities, **TINY)
    assert choose_threads(None, small, 128, 10_000) == 1
    assert choose_threads(3, small, 128, 10_000) == 3
    batch = int(SMALL / work_of_row(small)) + 1
    assert choose_threads(None, small, batch, batch) == 6
    assert choose_threads(None, small, batch, 100) == 1  # no batch is larger than the data


def test_work_counts_every_weight_once_and_that_of_a_convolution_for_every_position():
    modality = read("digits-two-view").modalities[0]
    program = load_program("mvae")([modality], **TINY)
    assert work_of_row(program) == sum(p.numel() for p in program.parameters())
    size = modality.size
    program.extra = torch.nn.Conv2d(1, 2, 3, bias=False)
    assert work_of_row(program) == sum(p.numel() for p in program.parameters()) + 18 * (size - 1)
