"""The answers for some rows: moments, quantiles and probabilities over draws, weights, and evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base.turns import taking_turns
from ..core.batch import Batch
from .draws import autocast, draw, in_chunks
from .evidence import evidence, importance_weights
from .predictive import PredictiveAccumulator, resample
from .psis import smooth
from .questions.question import Question


def answer_rows(question: Question, rows: Tensor, step: int) -> dict[str, dict[str, np.ndarray]]:
    """Answer everything that is wanted for some rows, `step` draws at a time."""
    batch = question.dataset.batch(rows, question.program.encoded)
    ids = question.dataset.ids[rows.numpy()]
    of_modalities = [n for n in question.want if n in question.program.quantities]
    names = [n for n in question.want if n not in (*of_modalities, "evidence")]
    found = _describe(question, names, batch, ids, step) if names else {}
    if "evidence" in question.want:
        found["evidence"] = evidence(question, batch, ids, step)
    for name in of_modalities:
        found[name] = {"value": _quantity(question, name, batch)}
    return found


def _quantity(question: Question, name: str, batch: Batch) -> np.ndarray:
    """(B, M) numbers that the program has of the modalities that it encodes; 0 for those that are not given."""
    with autocast(question.precision):
        values = question.program.quantity(name, batch.seeing(question.given))
    zero = torch.zeros(len(batch))
    return torch.stack([values.get(n, zero) for n in question.program.encoded], -1).numpy()


def _describe(
    question: Question, names: list[str], batch: Batch, ids: np.ndarray, step: int
) -> dict[str, dict[str, np.ndarray]]:
    """Compute moments, quantiles and probabilities of sites over their draws.

    With importance sampling the weights are computed first, and keyed noise repeats the draws afterwards, so that no
    decoder output has to be kept until then.
    """
    program, latents = question.program, question.latents
    weighted = None
    if question.method == "importance":
        weighted = smooth(*importance_weights(question, batch, ids, question.given, question.given, step))
    weights = None if weighted is None else weighted.weights
    batch = dataclasses.replace(batch, instead=question.instead)  # the weights are those of the rows' own conditions
    accumulators = {
        name: PredictiveAccumulator(
            None if name in latents else program.modality(name), question.draws, weights, question.holds(name)
        )
        for name in names
    }
    exact: Mapping[str, Any] = {}
    if question.method == "guide":
        exact = program.predictive(batch.seeing(question.given), [n for n in names if n not in latents])
    for draws in taking_turns(in_chunks(question.draws, step)):
        _accumulate(question, accumulators, batch, ids, draws, exact)
    found: dict[str, dict[str, np.ndarray]] = {}
    indices = None if weights is None else resample(weights, question.seed, ids)
    for name, of in accumulators.items():
        if indices is not None:
            of.resample(indices)
        kept = {"draws": of.kept()} if question.keep_draws else {}
        found[name] = of.moments() | of.quantiles(question.quantiles) | kept
        if weighted is not None:
            found[name] |= {"ess": weighted.ess.numpy(), "khat": weighted.khat.numpy()}
    return found


def _accumulate(
    question: Question,
    accumulators: dict[str, PredictiveAccumulator],
    batch: Batch,
    ids: np.ndarray,
    draws: range,
    exact: Mapping[str, Any],
) -> None:
    """Add some draws, and where the predictive distribution is known, that for each of them.

    This is a function of its own so that the traces of a chunk are freed.
    """
    names = list(accumulators)
    sampled = [n for n in names if n not in question.latents and n not in question.program.conditions]
    unread = [n for n in names if not question.holds(n)]
    traces = draw(
        question.program, batch, ids, draws, given=question.given, sampled=sampled, seed=question.seed,
        unread=unread, precision=question.precision,
    )  # fmt: skip
    for name, into in accumulators.items():
        site = (traces.guide if name in question.latents else traces.model).nodes[name]
        if name in exact:
            site = {"fn": exact[name].expand((len(draws), len(batch))), "value": site["value"]}
        into.add(site, draws.start)
