"""Memory of queries, evaluations and fits: bounded however many rows, draws and epochs there are, and none is kept.

Whole: 3,000 queries of all kinds in one process, after which it holds what it held after the first of them; questions
of up to 8,000 rows and 4,096 draws. Quick: 80 queries, and smaller questions.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

import mmppl

from ..harness import _resident, peak_memory
from .trial import Trial

BUDGET = 48_000_000  # bytes that a question may take beside its answer
ALLOWED = 2.0  # times what is normal
KEPT = 6_000_000  # bytes that a process may keep from hundreds of queries, for what malloc holds back
ASKED: tuple[dict[str, Any], ...] = (
    {"given": "image", "want": "label"},
    {"given": "signal", "want": "image", "draws": 16},
    {"want": "z", "keep_draws": True, "draws": 8},
    {"want": "evidence", "draws": 32},
    {"given": "image", "want": "label,z", "method": "importance", "draws": 32},
)


def run(*, quick: bool, seed: int) -> Trial:
    """Measure peaks and what stays.

    Args:
        quick: smaller questions, and fewer of them.
        seed: of data and draws.

    Returns:
        For each kind of work the largest peak as a multiple of what is normal; and the bytes that many queries keep.
    """
    trial = Trial()
    rows, times = (300, 4) if quick else (2000, 4)
    few, many = _data(rows, seed), _data(rows * times, seed)
    model = mmppl.fit("mvae", few, hyper={"hidden": 64, "latent_dim": 8}, epochs=1, seed=seed)

    def query(data: Any, draws: int, **more: Any) -> Callable[[], Any]:
        words: dict[str, Any] = {
            "given": "signal",
            "want": "image",
            "memory": BUDGET,
            "split": "all",
            "seed": seed,
        } | more
        return lambda: model.query(data, draws=draws, **words)

    most = 256 if quick else 4096
    size = sum(value.nbytes for value in query(many, 2)()["image"].values() if isinstance(value, np.ndarray))
    for what, call, held in (
        ("query_of_many_rows", query(many, 64), size),
        ("query_of_many_draws", query(few, most, quantiles=()), size // times),
        ("evidence_of_many_draws", query(few, most, want="evidence"), 0),
    ):
        _within(trial, what, (peak_memory(call) - held) / BUDGET)

    def fit(data: Any, epochs: int) -> Callable[[], Any]:
        return lambda: mmppl.fit("mvae", data, hyper={"hidden": 64, "latent_dim": 8}, epochs=epochs, seed=seed)

    def evaluate(data: Any) -> Callable[[], Any]:
        return lambda: model.evaluate(data, metrics=["error", "rmse"], conditioning_sets=["signal"], split="all")

    normal = max(peak_memory(fit(few, 1)), BUDGET // 4)
    _within(trial, "fit_of_many_epochs", peak_memory(fit(few, 2 if quick else 8)) / normal)
    normal = max(peak_memory(evaluate(few)), BUDGET)
    _within(trial, "evaluation_of_many_rows_per_row", peak_memory(evaluate(many)) / normal / times)
    _kept(trial, model, 80 if quick else 3000, seed)
    return trial


def _data(rows: int, seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    label = draw.integers(0, 4, rows)
    image = draw.random((rows, 16, 16), np.float32)
    return {"image": image, "signal": draw.normal(size=(rows, 12)).astype(np.float32), "label": label}


def _within(trial: Trial, what: str, ratio: float) -> None:
    trial.figures[what] = round(ratio, 2)
    if ratio > ALLOWED:
        trial.failures.append(f"{what}: {ratio:.2f} times what is normal")


def _kept(trial: Trial, model: Any, number: int, seed: int) -> None:
    """The bytes by which the process grows from a fifth of the queries to the last."""
    before = 0
    for n in range(number):
        if n == number // 5:
            before = _held()
        model.query(rows=slice(n % 7, n % 7 + 1 + n % 3), seed=seed + n, **ASKED[n % len(ASKED)])
    kept = _held() - before
    trial.figures |= {"queries": number, "bytes_kept": kept}
    if kept > KEPT:
        trial.failures.append(f"{number} queries kept {kept:,} bytes")


def _held() -> int:
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc: what is free is given back
        ctypes.CDLL(None).malloc_trim(0)
    return _resident("VmRSS")
