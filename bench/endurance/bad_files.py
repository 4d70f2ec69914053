"""Files, folders, arrays and tables that must be refused: each in one line, soon, and without much memory.

Counted are internal errors, refusals of several lines, what is accepted without a word, hangs, and reads that make the
process take more than twice of what reading good files does.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mmppl.data.read import read
from mmppl.data.recipes.parts.photographs import photographs
from mmppl.errors import DataError, UsageError

from .bad_archives import archives, paths, recordings, wav
from .bad_arrays import ROWS, Case, frames, headers, mappings
from .bad_papers import digits, papers
from .trial import HungError, Trial, limited

SECONDS, BUDGET = 20, 1.5  # seconds of one case; of the quick mode's work
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def run(*, quick: bool, seed: int) -> Trial:
    """Give every case to its reader.

    Args:
        quick: stop after some seconds; the cases come in random order.
        seed: the seed of that order.

    Returns:
        How many cases there were, and what went wrong.
    """
    cases = [*headers(), *mappings(), *frames(), *archives(), *recordings(), *paths(), *papers(), *digits()]
    trial = Trial()
    wrong = dict.fromkeys(("internal", "lines", "silent", "hangs", "memory", "warnings"), 0)
    normal = _normal()
    most, slowest, began, done = (0, ""), (0.0, ""), time.process_time(), 0
    random.Random(seed).shuffle(cases)
    for name, prepare in cases:
        if quick and time.process_time() - began > BUDGET:
            break
        done += 1
        kind, what, peak, seconds = _tried((name, prepare))
        most, slowest = max(most, (peak, name)), max(slowest, (seconds, name))
        for found, why in ((kind, what), ("memory", f"{peak / 1e6:,.0f} MB") if peak > 2 * normal else ("", "")):
            if found:
                wrong[found] += 1
                trial.failures.append(f"{name}: {found}, {why}")
    trial.figures = {"cases": done, "of": len(cases), **wrong, "normal_mb": round(normal / 1e6)}
    trial.figures |= {"most_memory": (round(most[0] / normal, 2), most[1])}
    trial.figures |= {"slowest_seconds": (round(slowest[0], 2), slowest[1])}
    return trial


def _normal() -> int:
    """Return the bytes that the process has held at most while good files were read."""
    photographs(None)  # imports what reads pictures, which is slow
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.savez(place / "good.npz", x=ROWS, label=np.arange(12) % 2)
        (place / "speech").mkdir()
        for take in range(6):
            (place / "speech" / f"{take % 2}_anna_{take}.wav").write_bytes(wav(data=bytes(range(250)) * 64))
        for source in (place / "good.npz", place / "speech", "digits-two-view"):
            read(source)
        _start_peak()
        for source in (place / "good.npz", place / "speech"):
            read(source)
    return _peak()


def _tried(case: Case) -> tuple[str, str, int, float]:
    """Return what was wrong ("" if nothing), in which way, the most bytes held, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        attempt = case[1](Path(folder))
        _start_peak()
        began = time.monotonic()
        with warnings.catch_warnings(record=True) as told, limited(SECONDS):
            warnings.simplefilter("always")
            kind, what = _outcome(attempt)
        seconds = time.monotonic() - began
    if told and not kind:
        kind, what = "warnings", str(told[0].message)[:200]
    return kind, what, _peak(), seconds


def _outcome(attempt: Any) -> tuple[str, str]:
    try:
        attempt()
    except (DataError, UsageError) as error:
        text = str(error)
        return ("lines", repr(text)[:200]) if not text or "\n" in text or "\r" in text else ("", "")
    except HungError:
        return "hangs", f"more than {SECONDS} s"
    except Exception as error:  # whatever it is, it is what this program looks for
        return "internal", f"{type(error).__name__}: {error!s:.200}"
    return "silent", "accepted"


def _start_peak() -> None:
    """Begin to measure the most memory anew, where the system can; elsewhere it is that of the whole process."""
    with suppress(OSError):
        CLEAR.write_text("5")


def _peak() -> int:
    """Return the most bytes held since `_start_peak`."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    import resource  # there is none on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
