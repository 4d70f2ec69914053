"""A fit is killed (SIGKILL) or stopped (SIGTERM) at random moments and resumed, again and again, while a reader loads
it beside: in the end it must be, to the bit, the fit that nobody disturbed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .trial import Trial
from .warm import Warm

KINDS = (
    ["mvae", "--epochs", "25"],
    ["mvae", "--epochs", "25", "--patience", "20", "--lr", "0.02"],
    ["jmvae", "--epochs", "20", "--hide", "0.2", "--patience", "15"],
)
SMALL = ["--set", "hidden=8", "--set", "layers=1", "--set", "latent_dim=2", "--batch-size", "16", "--device", "cpu"]
KILLS_OF_A_FIT = 20
EARLY = 0.2  # share of the kills before a process has written anything
LONGEST = 0.2  # later ones: after at most this share of the time of a fit in peace
ENDED = (0, 130, -signal.SIGKILL, -signal.SIGTERM)  # the last before the command line has begun, or after it


def run(*, quick: bool, seed: int) -> Trial:
    """Kill fits.

    Args:
        quick: 6 kills; else 200, of a dozen fits.
        seed: of the moments.

    Returns:
        How many kills, resumed fits and loads beside them there were, and what they lost.
    """
    wanted, trial, chance = 6 if quick else 200, Trial(), random.Random(seed)
    trial.figures |= dict(kills=0, terminations=0, fits=0, lost=0, left_over=0, loads=0, failed_loads=0)
    place = Path(tempfile.mkdtemp(prefix="mmppl-kills-"))
    try:
        data = place / "data.npz"
        rng = np.random.default_rng(seed)
        a = rng.normal(size=(60, 3))
        np.savez(data, a=a, b=a[:, :2] + 0.3 * rng.normal(size=(60, 2)), label=np.arange(60) % 2)
        with Warm(_words(KINDS[0], data, place / "warming")) as warm:
            while _disturbed(trial) < wanted:
                kind = KINDS[trial.figures["fits"] % len(KINDS)]
                most = min(KILLS_OF_A_FIT, wanted - _disturbed(trial))
                _one_fit(trial, warm, _words(kind, data, place / "killed"), chance, most)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return trial


def _disturbed(trial: Trial) -> int:
    return int(trial.figures["kills"] + trial.figures["terminations"])


def _words(kind: list[str], data: Path, out: Path) -> list[str]:
    return ["fit", *kind, *SMALL, "--data", str(data), "--out", str(out)]


def _one_fit(trial: Trial, warm: Warm, words: list[str], chance: random.Random, most: int) -> None:
    """Disturb one fit at most so often, let it end, and compare it with the same fit in peace."""
    out = Path(words[-1])
    whole, log, figures = out.with_name("whole"), out.with_name("log"), trial.figures
    figures["fits"] += 1
    began = time.monotonic()
    if code := warm.wait(warm.start([*words[:-1], str(whole)], str(log))):
        trial.failures.append(f"a fit in peace: exit code {code}: {_last(log)}")
    peace, reader, code, disturbed = time.monotonic() - began, Reader(trial, out), 1, 0
    while code != 0:
        before = _written(out)
        pid = warm.start([*words, *(["--resume"] if out.exists() else [])], str(log))
        if disturbed < most:
            number = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
            if chance.random() > EARLY:
                reader.read(peace, partial(_has_written, out, before))
            reader.read(chance.uniform(0.0, LONGEST * peace))
            os.kill(pid, number)  # where it has ended, to its zombie
        code = warm.wait(pid)
        if code not in ENDED:
            trial.failures.append(f"after {disturbed} kills: exit code {code}: {_last(log)}")
            break
        disturbed += code != 0
        figures["kills"] += code < 0
        figures["terminations"] += code == 130
    if code == 0:
        for what, one in _content(whole).items():
            if _content(out)[what] != one:
                figures["lost"] += 1
                trial.failures.append(f"{' '.join(words[1:4])}: after {disturbed} kills, other {what}")
        left = [p.name for p in out.rglob("*") if p.suffix == ".part"]
        figures["left_over"] += len(left)
        trial.failures += [f"left over: {name}" for name in left]
    for folder in (out, whole):
        shutil.rmtree(folder, ignore_errors=True)


class Reader:
    """Loads a run beside the fit that writes it.

    Args:
        trial: counts the loads.
        folder: the run.
    """

    def __init__(self, trial: Trial, folder: Path) -> None:
        self.trial, self.folder, self.once = trial, folder, False

    def read(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Load it again and again, for so long or until it is enough."""
        from mmppl import MMPPLError, Run, UsageError

        until = time.monotonic() + seconds
        while time.monotonic() < until and not enough():
            try:
                found = Run.load(self.folder)
                epochs = [line["epoch"] for line in found.metrics]  # none where the fit begins anew
                assert epochs == [*range(1, len(epochs) + 1)], epochs
                assert all(p.isfinite().all() for p in found.program.parameters())
                self.once = True
            except UsageError as error:  # there is no run, or there are no weights yet
                if not self.once:
                    time.sleep(0.005)
                    continue
                self._failed(error)
            except (MMPPLError, OSError, AssertionError) as error:
                self._failed(error)
            self.trial.figures["loads"] += 1

    def _failed(self, error: Exception) -> None:
        self.trial.figures["failed_loads"] += 1
        self.trial.failures.append(f"a load beside the fit: {type(error).__name__}: {error}")


def _written(run: Path) -> int:
    """When run.json was written last; a fit writes it before its first step, too."""
    return os.stat(run / "run.json").st_mtime_ns if (run / "run.json").exists() else 0


def _has_written(run: Path, before: int) -> bool:
    return _written(run) != before


def _content(run: Path) -> dict[str, Any]:
    """What two fits have in common, if nothing was lost: all but times."""
    from mmppl.runs.record import read_record

    record = read_record(run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    result = record.result.to_json() if record.result is not None else {}
    return {
        "weights": [(p.name, p.read_bytes()) for p in sorted(run.glob("*.safetensors"))],
        "metrics": [{name: value for name, value in line.items() if name != "seconds"} for line in lines],
        "result": {name: value for name, value in result.items() if name != "seconds"},
        "program": (run / "program.py").read_bytes(),
        "status": record.status,
    }


def _last(log: Path) -> str:
    return (log.read_text().strip().splitlines() or ["(it said nothing)"])[-1]
