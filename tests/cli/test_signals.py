"""Ctrl-C, and SIGTERM and SIGHUP, which are the same to a command, and to it alone; and what an unfinished run says."""

import json
import os
import shutil
import signal
import threading

import pytest
from command import SMALL

from mmppl.cli import main
from mmppl.train.checkpoint import save_state

TWO = [*SMALL[2:], "--epochs", "2"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that SIGTERM has stopped after its first state, and what the command printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"

    def save(*args):
        save_state(*args)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmppl.train.callbacks.save_state", save)
        assert main(["fit", "cmmd", *TWO, "--out", str(folder)]) == 130
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_prints_how_to_resume(mmppl, tmp_path, monkeypatch, number):
    run = tmp_path / "run"

    def save(*args):
        save_state(*args)
        os.kill(os.getpid(), number)

    monkeypatch.setattr("mmppl.train.callbacks.save_state", save)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        result = mmppl("fit", "cmmd", *TWO, "--out", run)
    finally:
        signal.signal(signal.SIGINT, before)
    result.failed(130, f"interrupted; go on with: mmppl fit cmmd {' '.join(TWO)} --out {run} --resume", talk=True)
    assert json.loads((run / "run.json").read_text())["status"] == "running"


@pytest.fixture
def copy(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def test_a_fit_that_was_told_to_end_keeps_its_state_and_goes_on(mmppl, copy):
    assert (copy / "state" / "LATEST").is_file()
    result = mmppl("fit", "cmmd", *TWO, "--out", copy, "--resume")
    assert result.code == 0 and f"{copy}: goes on after epoch 1." in result.err


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_the_line_is_that_of_ctrl_c_and_the_handlers_are_put_back(mmppl, monkeypatch, name):
    number = getattr(signal, name)
    monkeypatch.setattr("mmppl.data.recipes.registry.recipes", lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    mmppl("data").failed(130, "mmppl: interrupted")
    assert signal.getsignal(number) == before == signal.SIG_DFL


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None], ids=["ignored", "own"])
def test_a_signal_that_is_ignored_or_handled_stays_so(mmppl, monkeypatch, handler):
    """`nohup mmppl fit …` outlives its terminal."""
    from mmppl.data.recipes import registry

    recipes = registry.recipes

    def lose_the_terminal():
        os.kill(os.getpid(), signal.SIGHUP)
        return recipes()

    monkeypatch.setattr(registry, "recipes", lose_the_terminal)
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert mmppl("data").code == 0 and signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_that_may_not_handle_signals_runs_commands_too(capsys):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["--version"])))
    thread.start()
    thread.join()
    assert codes == [0]


@pytest.mark.parametrize(
    "words",
    [
        ("show",),
        ("query", "--rows", "0:2", "--draws", "2"),
        ("evaluate", "--metric", "rmse.noisy", "--draws", "2"),
        ("plot", "--figure", "loss"),
        ("plot", "--term", "nll.noisy"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_unfinished_run_says_so_everywhere(mmppl, copy, words):
    result = mmppl(words[0], copy, *words[1:])
    assert result.code == 0 and "--resume" in result.out + result.err, result
    assert sum("not finished" in line for line in result.err.splitlines()) == (words[0] != "show")
