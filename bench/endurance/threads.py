"""Queries, fits, evaluations and figures in many threads of one process: each as if it were alone, to the bit.

Whole: 8 threads with 200 queries each; fits beside queries and beside each other; evaluations and figures at once; and
fresh processes in which 8 threads use the library for the first time at the same moment. Quick: a few of each.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mmppl
from mmppl.core.loading import installed_programs

from .trial import Trial

THREADS, QUERIES = 8, 200
SMALL: dict[str, Any] = {"hidden": 16, "layers": 1, "latent_dim": 3}
ASKED: tuple[dict[str, Any], ...] = (
    {"given": "image", "want": "label,word"},
    {"given": "word", "want": "image", "draws": 16},
    {"want": "z", "keep_draws": True, "draws": 8},
    {"want": "evidence", "draws": 32},
    {"given": "image,profile", "want": "label,z", "method": "importance", "draws": 32},
    {"want": "label", "precision": "bf16"},
    {"given": "", "want": "image", "draws": 8, "memory": 500_000},
)

FIRST_USE = """
import sys, threading
import mmppl

RUN, PROGRAM, DATA = sys.argv[1:4]
THREADS, KINDS = map(int, sys.argv[4:])
SMALL = {"hidden": 16, "layers": 1, "latent_dim": 3}
USES = (
    lambda: mmppl.Run.load(RUN).query(given="image", want="label", rows=slice(5))["label"]["prob"].sum(),
    lambda: mmppl.fit(PROGRAM, DATA, hyper={"hidden": 16}, epochs=1).record.result.loss,
    lambda: len(mmppl.read(DATA)),
    lambda: mmppl.fit("mopoe", "digits-three", hyper=SMALL, epochs=1).record.result.loss,
    lambda: mmppl.Run.load(RUN).evaluate(metrics=["error.label"], draws=2)["n"],
)
start, found, lock = threading.Barrier(THREADS), {}, threading.Lock()

def use(number):
    start.wait()
    result = USES[number % KINDS]()
    with lock:
        found.setdefault(number % KINDS, set()).add(repr(float(result)))

threads = [threading.Thread(target=use, args=(number,)) for number in range(THREADS)]
[t.start() for t in threads], [t.join() for t in threads]
print(sorted((number, sorted(values)) for number, values in found.items()))
"""


def run(*, quick: bool, seed: int) -> Trial:
    """Do everything in threads that was done in one thread before, and compare.

    Args:
        quick: a few of each.
        seed: of queries and fits.

    Returns:
        How many there were of each, and which failed or differed.
    """
    trial, before = Trial(), torch.get_rng_state()
    fitted = [
        mmppl.fit(name, "digits-three", hyper={**SMALL, **more}, epochs=1, seed=seed)
        for name, more in (("mvae", {}), ("fmwvae", {"private": 2}))
    ]
    each = 4 if quick else QUERIES
    _queries(trial, fitted, each, seed)
    _fits_beside(trial, fitted, epochs=1 if quick else 3, threads=1 if quick else 2, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        for model, name in zip(fitted, ("mvae", "fmwvae")):
            model.save(Path(folder) / name)
        _judged(
            trial,
            fitted[:1] if quick else fitted,
            ["loss"] if quick else ["loss", "reconstructions"],
            1 if quick else 2,
        )
        for _ in range(1 if quick else 5):
            _first_use(trial, Path(folder), 3 if quick else 5)
    if not torch.equal(before, torch.get_rng_state()):
        trial.failures.append("the caller's random generator was moved")
    return trial


def _questions(fitted: list[Any], number: int, seed: int) -> Iterable[Callable[[], Any]]:
    """So many questions of different kinds, rows and seeds, the same for the same seed."""
    for n in range(number):
        asked, model = ASKED[n % len(ASKED)], fitted[n % len(fitted)]
        if "evidence" in asked["want"] or asked.get("method") == "importance":
            model = fitted[0]
        rows = slice(n % 11, n % 11 + 1 + n % 5)
        yield partial(model.query, rows=rows, seed=seed + n, **asked)


def _queries(trial: Trial, fitted: list[Any], each: int, seed: int) -> None:
    """The same questions from 8 threads, each of which begins elsewhere, and from one."""
    questions = list(_questions(fitted, each, seed))
    serial = [question() for question in questions]

    def thread(number: int) -> None:
        for n in range(each):
            place = (n + 13 * number) % each
            _compare(trial, f"query {place} in thread {number}", questions[place](), serial[place])

    _at_once(trial, [partial(thread, number) for number in range(THREADS)])
    trial.figures |= {"threads": THREADS, "queries": THREADS * each}


def _fits_beside(trial: Trial, fitted: list[Any], epochs: int, threads: int, seed: int) -> None:
    """Two fits at once, with and without recorded steps, of which each draws at random; and queries all the while."""
    data = mmppl.read("digits-three", hide=0.2)
    kinds = [("mvae", 1), ("fmwvae", threads)]

    def fit(kind: tuple[str, int]) -> bytes:
        run = mmppl.fit(kind[0], data, hyper=SMALL, epochs=epochs, batch_size=64, seed=seed, threads=kind[1])
        return b"".join(value.numpy().tobytes() for value in run.program.state_dict().values())

    alone = [fit(kind) for kind in kinds]
    questions = list(_questions(fitted, 2 * len(ASKED), seed))
    serial = [question() for question in questions]
    over, asked = threading.Event(), [0] * 4

    def ask(number: int) -> None:
        while not over.is_set():
            place = asked[number] % len(questions)
            _compare(trial, f"query {place} beside a fit", questions[place](), serial[place])
            asked[number] += 1

    beside: dict[int, bytes] = {}

    def beside_each_other(n: int) -> None:
        beside[n] = fit(kinds[n])

    def fits() -> None:
        try:
            _at_once(trial, [partial(beside_each_other, n) for n in range(len(kinds))])
        finally:
            over.set()
        trial.failures.extend(
            f"a fit of {kinds[n][0]} beside queries has other weights" for n in beside if beside[n] != alone[n]
        )

    _at_once(trial, [fits, *(partial(ask, number) for number in range(len(asked)))])
    trial.figures |= {"fits_beside_queries": len(kinds), "queries_beside_fits": sum(asked)}


def _judged(trial: Trial, fitted: list[Any], figures: list[str], number: int) -> None:
    """Evaluations and figures at once."""
    metrics = ["error"]

    def evaluate(model: Any) -> Any:
        return model.evaluate(metrics=metrics, conditioning_sets=["image"], draws=4)["metrics"]

    def plot(model: Any) -> list[bytes]:
        return [path.read_bytes() for path in model.plot(figures=figures)]

    works: list[Callable[[], Any]] = [partial(work, model) for model in fitted for work in (evaluate, plot)]
    serial = [work() for work in works]

    def thread(place: int) -> None:
        if repr(works[place]()) != repr(serial[place]):
            trial.failures.append(f"an evaluation or figure (number {place}) differs in threads")

    _at_once(trial, [partial(thread, n % len(works)) for n in range(number * len(works))])
    trial.figures["evaluations_and_plots"] = number * len(works)


def _first_use(trial: Trial, folder: Path, kinds: int) -> None:
    """A fresh process with an empty cache, in which 8 threads begin at the same moment."""
    program, data = folder / "own.py", folder / "own.npz"
    program.write_text(installed_programs()["mvae"].read_text())
    np.savez(data, a=np.linspace(0, 1, 80).reshape(20, 4), label=np.arange(20) % 2)
    found = []
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "MMPPL_CACHE": cache, "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-c", FIRST_USE, str(folder / "mvae"), str(program), str(data)]
        words += [str(THREADS), str(kinds)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)
        found = done.stdout.splitlines()
    if done.returncode or "Error" in done.stderr or len(found) != 1:
        trial.failures.append(f"first use: {done.stderr.strip().splitlines()[-1:] or found}")
    elif any(len(values) != 1 for _, values in ast.literal_eval(found[0])):
        trial.failures.append(f"first use: threads found different results: {found[0]}")
    trial.figures["first_uses"] = trial.figures.get("first_uses", 0) + THREADS


def _compare(trial: Trial, what: str, answer: Any, expected: Any) -> None:
    """Bit for bit, warnings included."""
    parts = {(name, key) for name in answer.want for key in answer.want[name]}
    same = parts == {(name, key) for name in expected.want for key in expected.want[name]} and all(
        np.array_equal(answer.want[name][key], expected.want[name][key], equal_nan=_numbers(answer.want[name][key]))
        for name, key in parts
    )
    if not same or answer.warnings != expected.warnings:
        trial.failures.append(f"{what}: another answer")


def _numbers(value: Any) -> bool:
    return np.asarray(value).dtype.kind == "f"


def _at_once(trial: Trial, works: list[Callable[[], object]]) -> None:
    """Each in a thread of its own. What one raises is a failure."""
    start = threading.Barrier(len(works))

    def thread(work: Callable[[], object]) -> None:
        start.wait()
        try:
            work()
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            trial.failures.append(f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}: {error}"[:300])

    threads = [threading.Thread(target=thread, args=(work,)) for work in works]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
