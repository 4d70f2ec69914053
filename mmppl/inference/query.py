"""Queries: a program with fitted weights + what is given + what is wanted → the predictive distribution, per row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..base.parsing import names as names_in
from ..base.parsing import size as size_in
from ..core.batch import Batch
from ..core.program import Program
from ..data.dataset import Dataset
from ..errors import UsageError, suggest
from .answer import Answer
from .draws import draw, in_chunks
from .evidence import evidence, importance_weights
from .memory import MEMORY, chunk, estimate
from .predictive import PredictiveAccumulator, resample
from .psis import smooth
from .question import PRECISIONS, Question
from .warnings import far_off, not_finite, nothing_given, nothing_scored


@torch.no_grad()
def ask(
    program: Program,
    dataset: Dataset,
    *,
    given: str | Sequence[str] | None = None,
    want: str | Sequence[str],
    draws: int = 64,
    method: Literal["guide", "importance"] | str = "guide",
    seed: int = 0,
    keep_draws: bool = False,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    memory: int | str = MEMORY,
    precision: Literal["fp32", "bf16"] | str = "fp32",
    run: str = "",
) -> Answer:
    """Ask a program about every row of a data set.

    Args:
        given: names to condition on ("image,word" or a sequence), each in the rows that have it; [] is the prior;
            None: all that a row has, less what is wanted and labels.
        want: latents ("z"), modalities, labels, or "evidence": ln p(the other wanted names | given), each where
            observed; with no other name wanted, ln p(given).
        draws: of the latent per row.
        method: "guide": the program's answer as it is; "importance": the answer corrected by the model, with
            Pareto-smoothed weights (adds "ess" and "khat" to everything wanted).
        seed: with the row's id the key of its noise; slicing or reordering rows changes answers by rounding only.
        keep_draws: add "draws", (n, draws, *shape), to every wanted thing but the evidence.
        quantiles: which to report, as q05 for 0.05, q97.5 for 0.975 (not for classes).
        memory: bytes, or a text such as "500MB", that may be taken beside the answer itself; rows and draws are asked
            in chunks that keep to it (other chunks change answers by rounding only). What must be held of all draws of
            a row at once is their weights, and for quantiles and `keep_draws` the wanted things.
        precision: "bf16": the networks' matrix products in bfloat16, sums and densities in float32 as ever.
    Raises: UsageError for unknown names, a question that the program cannot answer (with the reason), or one whose
        single rows do not fit into the memory.
    """
    given, want = None if given is None else names_in(given), names_in(want)
    memory = size_in("query: memory", memory) if isinstance(memory, str) else memory
    if memory < 1:
        raise UsageError(f"query: {memory} bytes of memory; take some, such as 2_000_000_000.")
    if precision not in PRECISIONS:
        raise UsageError(f"query: no precision {precision!r}; choose fp32 or bf16.{suggest(precision, PRECISIONS)}")
    question = Question.of(program, dataset, given, want, draws, method, seed, keep_draws, quantiles, precision)
    size = chunk(
        lambda draws: _trial(question, draws), estimate(program), len(dataset), question.draws, question.held(),
        int(memory),
    )  # fmt: skip
    parts = [_answer(question, rows, size.draws) for rows in torch.arange(len(dataset)).split(size.rows)]
    found = {
        name: {key: np.concatenate([p[name][key] for p in parts]) for key in parts[0][name]} for name in question.want
    }
    for name in question.want:
        if "prob" in found[name]:
            classes = list(program.modality(name).classes or ())
            found[name]["predicted"] = np.asarray(classes)[found[name]["prob"].argmax(-1)]
            found[name]["classes"] = classes
    features = {m.name: m.features for m in program.modalities if m.features and m.name in found}
    return Answer(run, None if given is None else list(given), dataset.ids, found, _warnings(question, found), features)


def _trial(question: Question, draws: int) -> None:
    """The question, asked of the first row with so many draws, to see how much memory that takes."""
    _answer(dataclasses.replace(question, draws=draws), torch.tensor([0]), draws)


def _answer(question: Question, rows: Tensor, step: int) -> dict[str, dict[str, np.ndarray]]:
    """Everything wanted, for some rows, `step` draws at a time."""
    batch = question.dataset.batch(rows, question.program.encoded)
    ids = question.dataset.ids[rows.numpy()]
    names = [n for n in question.want if n != "evidence"]
    found = _describe(question, names, batch, ids, step) if names else {}
    if "evidence" in question.want:
        found["evidence"] = evidence(question, batch, ids, step)
    return found


def _describe(
    question: Question, names: list[str], batch: Batch, ids: np.ndarray, step: int
) -> dict[str, dict[str, np.ndarray]]:
    """Moments, quantiles and probabilities of sites over their draws. With importance the weights come first, from
    draws that the keyed noise makes again, so that no decoder output waits for them."""
    program, latents = question.program, question.latents
    weighted = None
    if question.method == "importance":
        weighted = smooth(importance_weights(question, batch, ids, question.given, question.given, step))
    weights = None if weighted is None else weighted.weights
    gathered = {
        name: PredictiveAccumulator(
            None if name in latents else program.modality(name), question.draws, weights, question.holds(name)
        )
        for name in names
    }
    for draws in in_chunks(question.draws, step):
        _accumulate(question, gathered, batch, ids, draws)
    found: dict[str, dict[str, np.ndarray]] = {}
    picked = None if weights is None else resample(weights, question.seed, ids)
    for name, of in gathered.items():
        if picked is not None:
            of.resample(picked)
        kept = {"draws": of.kept()} if question.keep_draws else {}
        found[name] = of.moments() | of.quantiles(question.quantiles) | kept
        if weighted is not None:
            found[name] |= {"ess": weighted.ess.numpy(), "khat": weighted.khat.numpy()}
    return found


def _accumulate(
    question: Question, gathered: dict[str, PredictiveAccumulator], batch: Batch, ids: np.ndarray, draws: range
) -> None:
    """Add some draws; a function of its own, so that no chunk's traces outlive it."""
    names = list(gathered)
    sampled = [n for n in names if n not in question.latents and n not in question.program.conditions]
    unread = [n for n in names if not question.holds(n)]
    traces = draw(
        question.program, batch, ids, draws, given=question.given, sampled=sampled, seed=question.seed,
        unread=unread, precision=question.precision,
    )  # fmt: skip
    for name, into in gathered.items():
        into.add((traces.guide if name in question.latents else traces.model).nodes[name], draws.start)


def _warnings(question: Question, found: dict[str, dict[str, Any]]) -> list[str]:
    """What whoever asks should know of the answer, a line each."""
    targets = question.targets() if "evidence" in question.want else []
    others = question.want != ["evidence"]
    return [
        *(nothing_given(question.dataset, question.given) if others else []),
        *(nothing_scored(question.dataset, targets) if targets else []),
        *not_finite(found, question.dataset, dict.fromkeys([*question.given, *targets])),
        *far_off(found, question.draws),
    ]
