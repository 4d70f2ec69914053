"""Data that are legal and odd: each is read, fitted for an epoch, asked and evaluated.

Every number that comes back has the right shape and is finite, or there is a refusal of one line. Counted are internal
errors, numbers that are none, wrong shapes, and warnings of NumPy or PyTorch, which no user can act on.
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from mmppl.data.read import read
from mmppl.errors import MMPPLError
from mmppl.evaluation.evaluate import evaluate
from mmppl.runs.run import Run
from mmppl.train.fit import fit

from .trial import Trial

BUDGET = 5.0  # seconds of the quick mode's work
TINY = {"hidden": 8, "layers": 1, "latent_dim": 2}
Data = Mapping[str, Any]
Case = tuple[str, Data, list[Data]]  # name, what to fit to, and what else to ask about

DRAW = np.random.default_rng(0)
A, B = DRAW.normal(size=(40, 3)), DRAW.normal(size=(40, 2))
LABEL = np.arange(40) % 3
SPLIT = np.array(["train"] * 24 + ["valid"] * 8 + ["test"] * 8)


def run(*, quick: bool, seed: int) -> Trial:
    """Go through all cases.

    Args:
        quick: stop after some seconds; the cases come in random order.
        seed: the seed of that order.

    Returns:
        How many cases were answered and refused, and what went wrong.
    """
    cases = [*values(), *rows(), *masks(), *classes(), *names()]
    random.Random(seed).shuffle(cases)
    trial = Trial()
    counts = dict.fromkeys(("answered", "refused", "internal", "shape", "not finite", "warnings"), 0)
    refusals, began = [], time.process_time()
    with torch.random.fork_rng(devices=[]):
        for case in cases:
            if quick and time.process_time() - began > BUDGET:
                break
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                kind, what = _outcome(case)
            if told and kind in ("answered", "refused"):
                kind, what = "warnings", f"{told[0].category.__name__}: {told[0].message!s:.200}"
            counts[kind] += 1
            if kind == "refused":
                refusals.append(f"{case[0]}: {what}")
            elif kind != "answered":
                trial.failures.append(f"{case[0]}: {kind}, {what}")
    trial.figures = {"cases": sum(counts.values()), "of": len(cases), **counts, "refusals": sorted(refusals)}
    return trial


def _outcome(case: Case) -> tuple[str, str]:
    """Return what became of a case, and more about it."""
    try:
        problem = _lived(*case[1:])
    except MMPPLError as error:
        return ("internal" if "\n" in str(error) else "refused"), str(error)[:200]
    except Exception as error:  # whatever it is, it is what this program looks for
        return "internal", f"{type(error).__name__}: {error!s:.200}"
    return problem or ("answered", "")


def _lived(source: Data, asked: list[Data]) -> tuple[str, str] | None:
    """Read, fit, ask and evaluate; return the first problem."""
    data = read(source)
    hyper = TINY | ({"subsets": "sampled"} if len(data.modalities) > 10 else {})
    model = fit("mvae", data, hyper=hyper, epochs=1, batch_size=8, log=lambda _: None)
    names = [m.name for m in model.program.modalities]
    everything: list[list[str] | None] = [None, []]
    for given in everything:
        if problem := _asked(model, data, given, names, len(data), split="all"):
            return problem
    for other in asked:
        rows = len(next(iter(other.values())))
        if problem := _asked(model, other, None, names, rows):
            return problem
    if not (data.split == 2).any() or len(names) > 10:
        return None
    kinds = {m.classes is not None for m in model.program.modalities}
    metrics = ["nll", "collapse", *(["error"] if True in kinds else []), *(["rmse"] if False in kinds else [])]
    found = evaluate(model, data, metrics=metrics, draws=4)
    return _not_finite(found, "evaluate")


def _asked(model: Run, data: Any, given: Any, names: list[str], rows: int, **options: Any) -> tuple[str, str] | None:
    answer = model.query(data, given=given, want=[*names, "z"], draws=8, **options)
    if answer.n != rows:
        return "shape", f"{answer.n} rows for {rows}"
    for m in model.program.modalities:
        found = answer[m.name]
        shape = found["prob"].shape[:-1] if "prob" in found else found["mean"].shape
        if shape != (rows, *m.shape):
            return "shape", f"{m.name} of shape {shape}, not {(rows, *m.shape)}"
    return _not_finite(answer.want, "query")


def _not_finite(found: Any, where: str) -> tuple[str, str] | None:
    """Return the place of the first number that is none."""
    if isinstance(found, Mapping):
        return next((p for key, value in found.items() if (p := _not_finite(value, f"{where}.{key}"))), None)
    if isinstance(found, float | np.ndarray) and np.asarray(found).dtype.kind == "f" and not np.isfinite(found).all():
        return "not finite", f"{where}: {np.asarray(found)[~np.isfinite(found)].reshape(-1)[0]}"
    return None


def values() -> Iterator[Case]:
    """Numbers of every size and type."""
    for power in (-320, -308, -200, -45, -38, -30, 30, 37, 100, 150, 300):
        yield f"numbers about 1e{power}", {"a": A * 10.0**power, "b": B, "label": LABEL}, []
    yield "a column of 1e30 beside one of 1e-30", {"a": A * [1e30, 1e-30, 1], "b": B}, [{"a": A[:3] * 2}]
    yield "one value of 1e30", {"a": np.where(np.arange(120).reshape(40, 3) == 7, 1e30, A), "b": B}, []
    yield "signed zeros", {"a": np.where(A > 0, 0.0, -0.0), "b": B}, []
    yield "zeros everywhere", {"a": np.zeros((40, 3)), "b": np.zeros((40, 2))}, [{"a": A[:3]}]
    yield "a constant column", {"a": np.where([True, False, False], 5.0, A), "b": B}, [{"a": A[:3] * 100}]
    yield "constant in training alone", {"a": np.where((SPLIT == "train")[:, None], 2.0, A), "b": B, "split": SPLIT}, []
    yield "1e8 and a little", {"a": 1e8 + A, "b": B}, []
    yield "whole numbers beyond 2 to the 53", {"a": 2**60 + np.arange(40), "b": B}, []
    yield "whole numbers of 64 bits, unsigned", {"a": np.arange(40, dtype=np.uint64) + np.uint64(2**63), "b": B}, []
    yield "the least and largest whole number", {"a": np.array([-(2**63), 2**63 - 1] * 20), "b": B}, []
    for kind in ("f2", "f4", ">f8", ">f4", ">i4", "i1", "u1", "u2", "?", "g"):
        yield (
            f"numbers of type {kind}",
            {"a": np.abs(A * 20).astype(kind), "b": B},
            [{"a": np.abs(A[:2] * 20).astype(kind)}],
        )
    yield "in Fortran's order", {"a": np.asfortranarray(A), "b": B[::-1]}, []
    yield "one feature", {"a": A[:, :1], "b": B[:, 0]}, []
    yield "grey images of one shade", {"a": np.full((40, 4, 4), 7, np.uint8), "b": B}, []
    yield "images of one pixel", {"a": np.arange(40, dtype=np.uint8).reshape(40, 1, 1), "b": B}, []
    yield "zeros and ones", {"a": (A > 0).astype(float), "b": B > 0}, []
    yield "always one", {"a": np.ones((40, 3), bool), "b": B}, []
    yield "large counts", {"a": (np.abs(A) * 1e12).astype(np.int64), "b": B}, []


def rows() -> Iterator[Case]:
    """Few rows, and what is asked about."""
    for n in (2, 3, 4, 5, 9):
        yield f"{n} rows", {"a": A[:n], "b": B[:n]}, []
        yield f"{n} rows with a label", {"a": A[:n], "b": B[:n], "label": LABEL[:n] % 2}, []
    whole = {"a": A, "b": B, "label": LABEL}
    yield "asked about one row", whole, [{"a": A[:1], "b": B[:1]}, {"a": A[:1]}, {"b": B[:1]}]
    yield "asked about no rows", whole, [{"a": A[:0]}]
    yield "asked about far values", whole, [{"a": A[:3] * 1e6}, {"a": A[:3] * 1e30}]
    yield "asked with whole numbers", whole, [{"a": np.ones((3, 3), int)}]
    yield "asked about a row of gaps", whole, [{"a": np.where([[True], [False]], np.nan, A[:2])}]
    yield "asked about gaps alone", whole, [{"a": np.full((2, 3), np.nan)}]
    yield "no test rows", {**whole, "split": np.array(["train"] * 39 + ["valid"])}, []
    yield "one train row", {**whole, "split": np.array(["train"] + ["test"] * 39)}, []
    yield "train rows alone", {**whole, "split": np.zeros(40, int)}, []
    yield "40 modalities", {f"m{i}": A[:, i % 3] + i for i in range(40)}, []
    yield "repeated rows", {"a": np.tile(A[:2], (20, 1)), "b": np.tile(B[:2], (20, 1))}, []
    yield "ids that are texts", {**whole, "id": np.array([f"p {i}é" for i in range(40)])}, []
    yield "ids below zero", {**whole, "id": np.arange(40) - 20}, []
    yield "ids of 18 digits", {**whole, "id": np.arange(40) + 10**17}, []
    yield "ids that are floats", {**whole, "id": np.arange(40.0)}, []


def masks() -> Iterator[Case]:
    """What is missing."""
    row = np.arange(40)
    whole = {"a": A, "b": B, "label": LABEL, "split": SPLIT}
    yield "a modality seen once", {**whole, "mask_b": row == 0}, []
    yield "a modality seen twice", {**whole, "mask_b": row < 2}, []
    yield "a modality seen in training alone", {**whole, "mask_b": SPLIT == "train"}, []
    yield "a modality never in training", {**whole, "mask_b": SPLIT != "train"}, []
    yield (
        "rows without anything",
        {**whole, "mask_a": row % 4 > 0, "mask_b": row % 4 > 0, "mask_label": row % 4 > 0},
        [],
    )
    yield "never two at once", {**whole, "mask_a": row % 2 == 0, "mask_b": row % 2 == 1}, []
    yield "a label seen once", {**whole, "mask_label": row < 3}, []
    yield "no label in the test rows", {**whole, "mask_label": SPLIT != "test"}, []
    yield (
        "gaps as NaN",
        {**whole, "b": np.where((row % 3 == 0)[:, None], np.nan, B)},
        [{"b": np.full((1, 2), np.nan), "a": A[:1]}],
    )
    yield (
        "under the mask, infinity",
        {**whole, "b": np.where((row % 3 == 0)[:, None], np.inf, B), "mask_b": row % 3 > 0},
        [],
    )
    yield (
        "under the mask, 1e300",
        {**whole, "b": np.where((row % 3 == 0)[:, None], 1e300, B), "mask_b": row % 3 > 0},
        [],
    )
    yield "texts with gaps", {**whole, "sex": ["f", None, "m", "f"] * 10}, []


def classes() -> Iterator[Case]:
    """Labels of every kind."""
    whole = {"a": A, "b": B}
    row = np.arange(40)
    yield "labels that are bytes", {**whole, "label": np.array([b"x", b"y"])[row % 2]}, []
    yield "labels in other scripts", {**whole, "label": np.array(["ja", "нет", "是", "\u200cبله"])[row % 4]}, []
    yield "labels of two lines", {**whole, "label": np.array(["a\nb", "c\x1b[31m"])[row % 2]}, []
    yield "an empty label", {**whole, "label": np.array(["", "x"])[row % 2]}, []
    yield "labels below zero", {**whole, "label": row % 3 - 1}, []
    yield "labels far apart", {**whole, "label": np.array([0, 10**15])[row % 2]}, []
    yield "labels that are floats", {**whole, "label": (row % 3).astype(float)}, []
    yield "labels that are true or false", {**whole, "label": row % 2 == 0}, []
    yield "a class that training lacks", {**whole, "label": np.where(SPLIT == "test", 2, row % 2), "split": SPLIT}, []
    yield "a class of one row", {**whole, "label": (row == 0).astype(int)}, []
    yield "a class in every row", {**whole, "label": row}, []
    yield "sequences of classes", {**whole, "word": np.array(list("abcd"))[(row[:, None] + np.arange(3)) % 4]}, []


def names() -> Iterator[Case]:
    """Names in every script."""
    for name in ("é", "日本", "x" * 200, "_", "1", "A-B", "(a)", "gène", "ab\u200cc", "__class__", "self", "mask"):
        yield f"the name {name[:20]!r}", {name: A, "b": B}, []
    try:
        import pandas as pd
    except ImportError:
        return
    frame = pd.DataFrame({"m:a b": A[:, 0], "m:c,d": A[:, 1], "é:ü": B[:, 0], "sex": ["f", "m"] * 20})
    yield "a DataFrame with features of any name", frame, []
