"""`mmppl tune`: what it passes on, what it prints and refuses, and that it goes on where it was killed."""

import json
import os
import signal
import subprocess
import time

import pytest
from command import MAIN

import mmppl as library

FOUND = {
    "metric": "log_loss.label", "direction": "min", "given": "x", "held_out": {"rows": 1180, "fits": 1},
    "search": {"omega": "0..1"}, "counts": {"complete": 9, "pruned": 2, "failed": 1},
    "default": {"trial": 0, "value": 0.25, "searched": {"omega": 0.4}, "hyper": {}, "training": {}},
    "best": {"trial": 7, "value": 0.125, "searched": {"omega": 0.5}, "hyper": {"omega": 0.5}, "training": {}},
    "test": {"rows": 359, "default": 0.5, "best": 0.75}, "importance": {"omega": 1.0}, "study": "runs/omega",
    "preset": "runs/omega/best.toml", "trials": [],
    "warnings": ["it may be chance"],
}  # fmt: skip


def test_what_is_passed_on_and_printed(mmppl, monkeypatch, tmp_path):
    asked = {}

    def tune(program, data, **how):
        asked.update(how, program=program, data=data)
        return FOUND

    monkeypatch.setattr(library, "tune", tune)
    words = ["--search", "omega=0..1,lr=1e-4..1e-2:log", "--search", "hidden=8|16", "--trials", "12", "--jobs", "2"]
    words += ["--study", tmp_path / "s", "--set", "layers=1", "--metric", "error", "--given", "x,y", "--folds", "3"]
    result = mmppl("tune", "cmmd", "--data", "mine.npz", *words, "--epochs", "3", "--no-test", "--timeout", "60")
    assert result.code == 0, result.err
    assert asked["search"] == ["omega=0..1,lr=1e-4..1e-2:log", "hidden=8|16"] and asked["trials"] == 12
    assert (asked["jobs"], asked["out"], asked["hyper"]) == (2, tmp_path / "s", {"layers": "1"})
    assert (asked["metric"], asked["conditioning_sets"], asked["folds"]) == ("error", [["x", "y"]], 3)
    assert (asked["epochs"], asked["test"], asked["timeout"], asked["lr"]) == (3, False, 60, None)
    for text in (
        "smaller is better",
        "1,180 held-out rows",
        "0.125",
        "359 test rows",
        "9 complete, 2 pruned, 1 failed",
    ):
        assert text in result.out
    following = "mmppl fit cmmd --data mine.npz --set layers=1 --epochs 3 --preset runs/omega/best.toml"
    assert f"next: {following}" in result.out
    assert mmppl("tune", "cmmd", "--search", "omega=0..1", "--json").json == FOUND


def test_what_is_refused(mmppl, mine, tmp_path):
    mmppl("tune", "cmmd").failed(2, "--search")
    mmppl("tune", "cmmd", "--search", "").failed(2, "it names no setting")
    mmppl("tune", "cmmd", "--search", "omega=0..1", "--direction", "up").failed(2, "choose from min, max")
    words = ["tune", "cmmd", "--data", mine, "--study", tmp_path / "s", "--search"]
    mmppl(*words, "omga=0..1").failed(2, "no setting 'omga'", "Did you mean omega")
    mmppl(*words, "omega=1..0").failed(2, "the range is empty")
    mmppl(*words, "kernel=paper|gauss").failed(2, "kernel=gauss is none of paper, mixture")
    assert not (tmp_path / "s").exists()
    mmppl("fit", "cmmd", "--data", mine, "--preset", tmp_path / "no.toml").failed(2, "no such preset file")


def test_what_is_interrupted_says_how_to_go_on(mmppl, mine, tmp_path, monkeypatch):
    pytest.importorskip("optuna")

    def interrupted(*args, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmppl.train.tuning.runner.score_settings", interrupted)
    result = mmppl("tune", "cmmd", "--data", mine, "--search", "omega=0..1", "--study", tmp_path / "s")
    result.failed(130, f"go on with: mmppl tune cmmd --data {mine} --search omega=0..1 --study {tmp_path}/s", talk=True)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_search_goes_on_with_the_same_command(mine, tmp_path, jobs):
    """The processes of a killed search end with it; the next command runs what they had begun, and counts all."""
    pytest.importorskip("optuna")
    words = ["tune", "mvae", "--data", mine, "--search", "latent_dim=1..8,hidden=4..8", "--trials", "6", "--json"]
    words += ["--set", "layers=1", "--steps", "300", "--folds", "2", "--jobs", jobs, "--study", tmp_path / "s"]
    line = [*MAIN, *map(str, words)]
    table = tmp_path / "s" / "trials.csv"
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: table.is_file() and len(table.read_text().splitlines()) > 2, process)
        others = children(process.pid)
        process.send_signal(signal.SIGKILL)
    assert len(others) >= (jobs if jobs > 1 else 0)
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in others))
    found = json.loads(subprocess.run(line, capture_output=True, check=True).stdout)
    states = [row["state"] for row in found["trials"]]
    assert sum(found["counts"].values()) == 6 and "running" not in states and "waiting" not in states
    assert found["trials"][0]["default"] and found["best"]["value"] <= found["default"]["value"]
    if jobs == 1:
        words[-1] = tmp_path / "whole"
        whole = json.loads(subprocess.run([*MAIN, *map(str, words)], capture_output=True, check=True).stdout)
        values = [[row["value"] for row in one["trials"] if row["state"] != "killed"] for one in (found, whole)]
        assert values[0] == values[1]


@pytest.mark.slow
def test_a_job_that_is_killed_is_replaced(mine, tmp_path):
    pytest.importorskip("optuna")
    words = ["tune", "mvae", "--data", mine, "--search", "latent_dim=1..8", "--trials", "6", "--json", "--no-test"]
    words += ["--set", "layers=1", "--steps", "300", "--folds", "2", "--jobs", "2", "--study", tmp_path / "s"]
    table = tmp_path / "s" / "trials.csv"
    with subprocess.Popen([*MAIN, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: table.is_file() and len(table.read_text().splitlines()) > 1, process)
        os.kill(job_that_runs(tmp_path / "s"), signal.SIGKILL)
        found = json.loads(process.communicate()[0])
    assert process.returncode == 0 and sum(found["counts"].values()) == 6
    assert [row["state"] for row in found["trials"]].count("killed") == 1


def job_that_runs(folder):
    """The process of a trial that runs."""
    from mmppl.train.tuning.trials import PROCESS, Trials, outcome

    trials, found = Trials(folder, {}, "min"), []
    wait_until(
        lambda: found.extend(one.user_attrs.get(PROCESS) for one in trials if outcome(one) == "running") or any(found)
    )
    return next(filter(None, found))


def children(pid):
    """Processes that a process has begun, and those that these have."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            own = [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []
    return [*own, *(other for one in own for other in children(one))]


def wait_until(so, process=None, seconds=300):
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, "it takes too long"
        assert process is None or process.poll() is None, "the search has ended before it could be killed"
        time.sleep(0.05)


def test_the_next_command_fits_what_was_tuned():
    from mmppl.cli.tune import _fit

    words = "tune mvae --data a.npz --as au=student --search lr=0.1..1 --trials=3 --term tc.nwj:on=z --no-test"
    wanted = "mmppl fit mvae --data a.npz --as au=student --term tc.nwj:on=z --preset 'my study/best.toml'"
    assert _fit([*words.split(), "--preset", "p"], "my study/best.toml") == wanted
