"""Findings: what the numbers of an evaluation say against a model or its data, in a line each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from ..base.text import number, printable
from ..modalities.kinds import kind
from .conditioning import set_name
from .scores import SMALLEST
from .study import Losses, Study, Target
from .survival.scores import time_errors

MAX_LINES = 6  # of one kind
NAMES = {"square": "rmse", "error": "error", "log_loss": "log loss", "time": "error of the median"}
ANCHORS = {"square": "the training mean", "time": "the Kaplan–Meier median"}  # of all others the most frequent class


def losses(target: Target, rows: np.ndarray) -> Losses:
    """Compute the losses of single rows, of the program's answers and of the training mean.

    Args:
        target: one modality, answered from one conditioning set.
        rows: (n,) the numbers of its rows among the test rows.

    Returns:
        The losses.
    """
    of_global = losses_of(target, target.anchor("global"))
    return Losses(rows, losses_of(target, target.answer), of_global, entries_of_each(target))


def entries_of_each(target: Target) -> np.ndarray:
    """Count the scored entries of each row: 1 everywhere, but for sequences and where rows lack single cells."""
    return np.bincount(target.row_of_each) if target.in_parts else np.ones(len(target.truth), np.int64)


def losses_of(target: Target, answer: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the losses of single rows.

    Args:
        target: what is asked about.
        answer: its answer, or that of an anchor; perhaps empty.

    Returns:
        See `Losses.own`; {} without an answer.
    """
    truth, n = target.truth, len(target.truth)
    survival = kind(target.modality) == "survival"
    if not answer or (survival and "q50" not in answer):
        return {}
    if survival:
        return {"time": time_errors(truth.ravel(), answer["q50"].ravel())}

    def of_rows(entries: np.ndarray) -> np.ndarray:
        means = entries.reshape(n, -1).mean(1)
        if not target.in_parts:
            return means
        row = target.row_of_each
        return np.bincount(row, means) / np.bincount(row)

    if "prob" not in answer:
        return {"square": of_rows(np.square(answer["mean"] - truth, dtype=np.float64))}
    found = {"error": of_rows(answer["prob"].argmax(-1) != truth)}
    if kind(target.modality) == "class":
        prob = answer["prob"][np.arange(n), truth].astype(np.float64)
        found["log_loss"] = -np.log(np.maximum(prob, SMALLEST))
    return found


def findings(study: Study, metrics: Mapping[str, Any]) -> list[str]:
    """Say what is wrong, as far as the metrics that were computed tell.

    A difference counts if it is larger than its standard error over rows, which are paired. With nothing to find, that
    still happens by chance in one comparison of six.

    Args:
        study: the evaluation, with the losses of single rows.
        metrics: the metrics.

    Returns:
        One line for each finding; of one kind at most `MAX_LINES`, and one that counts the others.
    """
    found = []
    for kind_of in (_no_better(study), _hurts(study), _collapsed(metrics), _never_together(study)):
        lines = list(kind_of)
        more = len(lines) - MAX_LINES
        found += lines[:MAX_LINES] + ([f"and {more} more: {lines[MAX_LINES].partition(':')[0]}"] if more > 0 else [])
    return found


def _no_better(study: Study) -> Iterator[str]:
    """Answers whose losses are not smaller than those of the training mean; of classes neither error nor log loss."""
    for (name, given), loss in study.losses.items():
        gains = {key: loss.of_global[key] - own for key, own in loss.own.items() if key in loss.of_global}
        if not given or not gains or len(loss.rows) < 2 or not any(loss.of_global[key].any() for key in gains):
            continue
        if all(gain.mean() <= _standard_error(gain) for gain in gains.values()):
            key = next(iter(gains))
            anchor = ANCHORS.get(key, "the most frequent class")
            own, other = (_in_words(key, part[key].mean()) for part in (loss.own, loss.of_global))
            yield (
                f"no better than {anchor}: {printable(name)} given {printable(set_name(given))} "
                f"({NAMES[key]} {own}, {anchor} {other}; {len(loss.rows):,} rows)"
            )


def _hurts(study: Study) -> Iterator[str]:
    """Modalities that make an answer worse: for each, the largest conditioning set with and without it."""
    names = [m.name for m in study.program.modalities]
    for name in dict.fromkeys(target for target, _ in study.losses):
        sets = sorted((given for target, given in study.losses if target == name), key=len, reverse=True)
        for extra in names:
            pairs = [(given, tuple(n for n in given if n != extra)) for given in sets if extra in given]
            pair = next(((more, less) for more, less in pairs if less and (name, less) in study.losses), None)
            if pair is None:
                continue
            more, less = (study.losses[name, given] for given in pair)
            key = "log_loss" if "log_loss" in more.own else next(iter(more.own))
            without = less.own[key][np.searchsorted(less.rows, more.rows)]  # its rows are among them
            worse = more.own[key] - without
            if len(worse) > 1 and worse.mean() > _standard_error(worse):
                yield (
                    f"{printable(extra)} hurts: {printable(name)} given {printable(set_name(pair[0]))} has "
                    f"{NAMES[key]} {_in_words(key, more.own[key].mean())}, without {printable(extra)} "
                    f"{_in_words(key, without.mean())} ({len(worse):,} rows)"
                )


def _collapsed(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Modalities that leave the whole latent at its prior."""
    curves = metrics.get("collapse") or {}
    for name, fraction in curves.get("alone", {}).items():
        if fraction[1] == 1:
            yield (
                f"{printable(name)} says nothing about the latent: alone it leaves all dimensions at the prior (KL at "
                f"most {curves['eps'][1]:.2g} nats)"
            )


def _never_together(study: Study) -> Iterator[str]:
    """Pairs that no training row of the fit has together, although some have each."""
    train = study.dataset.rows("train")
    if not study.own_data or not len(train):
        return
    seen = {m.name: study.dataset.observed[m.name][train].numpy() for m in study.program.modalities}
    for one, other in combinations([name for name, rows in seen.items() if rows.any()], 2):
        if not (seen[one] & seen[other]).any():
            yield (
                f"never seen together: {printable(one)} ({seen[one].sum():,} training rows) and {printable(other)} "
                f"({seen[other].sum():,}); what one says about the other is an assumption of the model"
            )


def _standard_error(differences: np.ndarray) -> float:
    largest = float(np.abs(differences).max()) or 1.0  # squares of large losses overflow
    return largest * float((differences / largest).std(ddof=1)) / math.sqrt(len(differences))


def _in_words(key: str, mean: float) -> str:
    return f"{mean:.1%}" if key == "error" else number(math.sqrt(mean) if key == "square" else float(mean))
