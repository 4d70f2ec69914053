"""Interleaved timing: candidates run in turn, round by round. A ratio is formed within each round and the median over
the rounds is reported, so that slow drifts of the machine cancel. Absolute times are for orientation only."""

from __future__ import annotations

import ctypes
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch


class Figure(NamedTuple):
    """Median over the rounds, interquartile range as a share of it, and the extremes."""

    median: float
    iqr: float
    low: float
    high: float


class Round(NamedTuple):
    """Seconds per call: on the clock, and of processor time (which leaves out waiting for a shared core)."""

    wall: float
    cpu: float


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    seconds: float = 0.25,
    finish: Callable[[], object] = lambda: None,
) -> dict[str, list[Round]]:
    """Time each candidate once per round, in an order that changes from round to round, with garbage collection off.

    Args:
        candidates: name → function; called twice before anything is timed.
        rounds: the number of rounds.
        seconds: per round, a candidate is called as often as takes about this long, and at least once.
        finish: waits until the calls have ended, where they run on another device.

    Returns:
        name → one `Round` per round.
    """
    calls = {}
    for name, call in candidates.items():
        call()
        finish()
        begun = time.perf_counter()
        call()
        finish()
        calls[name] = max(1, round(seconds / max(time.perf_counter() - begun, 1e-7)))
    times: dict[str, list[Round]] = {name: [] for name in candidates}
    order = list(candidates)
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name in order:
                wall, cpu = time.perf_counter(), time.process_time()
                for _ in range(calls[name]):
                    candidates[name]()
                finish()
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                times[name].append(Round(wall / calls[name], cpu / calls[name]))
            order = order[1:] + order[:1]
            gc.collect()
    finally:
        gc.enable()
    return times


def figure(values: list[float]) -> Figure:
    """Return the figure of one value per round."""
    first, median, third = statistics.quantiles(values, n=4, method="inclusive")
    return Figure(median, (third - first) / median, min(values), max(values))


def ratio(above: list[float], below: list[float]) -> Figure:
    """Return the figure of the ratios above/below of each round."""
    return figure([a / b for a, b in zip(above, below, strict=True)])


def peak_memory(call: Callable[[], object]) -> int:
    """Return by how many bytes this process's resident memory grows at most during a call (Linux)."""
    call()  # what is loaded and allocated once does not count
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc: memory that was freed earlier must not hide what the call needs
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, mapped = _resident("VmRSS"), _resident("RssFile")
    call()
    reclaimed = max(0, mapped - _resident("RssFile"))  # pages of files that the system took back meanwhile
    return _resident("VmHWM") - before + reclaimed


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def circumstances(device: str = "cpu") -> dict[str, Any]:
    """Return what a figure depends on besides the program: processor, threads, versions, command."""
    versions = {"python": platform.python_version()}
    for name in ("torch", "triton", "pyro-ppl", "numpy", "mmppl"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # run from the tree, not installed
            versions[name] = "tree"
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "versions": versions,
        "command": " ".join(["python", *sys.argv]),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    amx = any("amx_tile" in line for line in lines if line.startswith("flags"))
    if not names:
        return platform.processor() or platform.machine()
    return f"{names[0]}, {len(names)} cores{', AMX' if amx else ''}"
