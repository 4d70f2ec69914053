"""Queries: what a program with fitted weights predicts for each row, given some names and asked for others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..base.parsing import names as names_in
from ..base.parsing import size as size_in
from ..base.turns import taking_turns, turn
from ..core.batch import Batch
from ..core.elements import check_cells
from ..core.program import Program
from ..data.dataset import Dataset
from ..data.examine.report import refuse_unseen
from ..errors import UsageError
from .answer import Answer
from .draws import autocast, draw, in_chunks
from .evidence import evidence, importance_weights
from .imputation import WHOLE, given_with_own, keep_observed
from .memory import MEMORY, chunk, estimate
from .predictive import PredictiveAccumulator, resample
from .psis import smooth
from .question import Question
from .warnings import not_finite, nothing_given, nothing_scored, untrusted_weights


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
    only_missing: bool = False,
    run: str = "",
) -> Answer:
    """Ask a program about every row of a data set.

    Args:
        program: a program with fitted weights.
        dataset: the rows, in the schema of the program.
        given: the names to condition on ("image,word" or a sequence), each in the rows that have it; [] asks the prior;
            None takes all that a row has, without labels and without what is wanted.
        want: latents ("z"), modalities, labels, what else the program has (`Program.quantities`, such as "importance":
            how far it trusts each modality of a row), or "evidence": ln p(the other wanted names | given), each where
            it is observed, or ln p(given) if no other name is wanted. The latter is a lower bound on average, the
            former a difference of two of those and no bound.
        draws: the number of latent draws per row.
        method: "guide" answers as the program does; "importance" corrects the answer by the model, with Pareto-smoothed
            weights, and adds "ess" and "khat" to everything that is wanted.
        seed: the key of the noise, together with the id of a row. Slicing or reordering rows changes answers by
            rounding only.
        keep_draws: if True, everything that is wanted except the evidence gets "draws", (n, draws, *shape).
        quantiles: the quantiles to report, as q05 for 0.05, q97.5 for 0.975 (not for classes).
        memory: what the work may take beside the answer itself, in bytes or as a text such as "500MB". Rows and draws
            are asked in chunks that keep to it; other chunks change answers by rounding only. All draws of a row share
            the memory for their weights and, with quantiles or `keep_draws`, for what is wanted.
        precision: "bf16" computes the matrix products of the networks in bfloat16, and sums and densities still in
            float32.
        only_missing: if True, cells that a row has stay as they are (mean, quantiles and draws are the value, std is
            0), what a row has of a wanted modality is given too, and "imputed" says which cells are predicted.
        run: the name of the model, for the answer.

    Returns:
        The answer, with one entry per row. Of a sequence it has all T steps where a row lacks it, whose length is then
        unknown, and NaN (of classes "" or -1) beyond a known length.

    Raises:
        UsageError: a name is unknown, the program cannot answer the question (the message gives the reason), or a
            single row does not fit into the memory.
        DataError: what is given has a class that the program does not know.
    """
    given, want = None if given is None else names_in(given), names_in(want)
    memory = size_in("query: memory", memory) if isinstance(memory, str) else memory
    if memory < 1:
        raise UsageError(f"query: {memory} bytes of memory; take some, such as 2_000_000_000.")
    check_cells(program, dataset.observed, dataset.present)
    with turn():
        shown = given_with_own(program, given, want) if only_missing else given
        question = Question.of(program, dataset, shown, want, draws, method, seed, keep_draws, quantiles, precision)
        refuse_unseen(dataset.findings, [*question.given, *(question.targets() if "evidence" in question.want else ())])
        size = chunk(
            lambda draws: _trial(question, draws), estimate(program), len(dataset), question.draws, question.held(),
            int(memory),
        )  # fmt: skip
        chunks = torch.arange(len(dataset)).split(size.rows)
        found: dict[str, dict[str, Any]] = {name: {} for name in question.want}
        for rows in taking_turns(chunks):
            _fill(found, _answer(question, rows, size.draws), rows, len(dataset))
    for name in question.want:
        if "prob" in found[name]:
            classes = list(program.modality(name).classes or ())
            found[name]["predicted"] = np.asarray(classes)[found[name]["prob"].argmax(-1)]
            found[name]["classes"] = classes
    features = {m.name: m.features for m in program.modalities if m.features and m.name in found}
    for name in set(found) & set(program.quantities):
        _name_the_most(found[name], list(program.encoded))
        features[name] = program.encoded
    warnings = _warnings(question, found)
    if only_missing:
        keep_observed(found, program, dataset)
    for m in program.modalities:
        if m.name in found and m.name in dataset.present and m.sequence:
            _blank(found[m.name], dataset.present[m.name].numpy(), dataset.observed[m.name].numpy())
    return Answer(run, None if given is None else list(given), dataset.ids, found, warnings, features)


def _blank(parts: dict[str, Any], present: np.ndarray, observed: np.ndarray) -> None:
    """Put NaN (of classes -1 or "") where a step of a sequence is known not to exist, beyond the length of the row."""
    known = observed.reshape(-1, *[1] * (present.ndim - 1))
    for key, value in parts.items():
        if key in WHOLE:
            continue
        absent = known & ~present
        absent = absent[:, None] if key == "draws" else absent
        absent = absent.reshape(*absent.shape, *[1] * (value.ndim - absent.ndim))
        parts[key] = np.where(absent, {"f": np.nan, "i": -1}.get(value.dtype.kind, ""), value)


def _fill(found: dict[str, dict[str, Any]], part: dict[str, dict[str, np.ndarray]], rows: Tensor, number: int) -> None:
    """Put the answer for some of `number` rows in its place. Parts that are joined in the end would be there twice."""
    at = slice(int(rows[0]), int(rows[-1]) + 1)
    for name, into in found.items():
        for key, value in part[name].items():
            if key not in into:
                into[key] = np.empty((number, *value.shape[1:]), value.dtype)
            into[key][at] = value


def _trial(question: Question, draws: int) -> None:
    """Ask the question about the first row with so many draws, to measure how much memory that takes."""
    _answer(dataclasses.replace(question, draws=draws), torch.tensor([0]), draws)


def _answer(question: Question, rows: Tensor, step: int) -> dict[str, dict[str, np.ndarray]]:
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


def _name_the_most(parts: dict[str, Any], modalities: list[str]) -> None:
    """Add the names of the modalities, and of the one of the largest value in each row ("" where several have it)."""
    value = parts["value"]
    parts["modalities"] = modalities
    alone = (value == value.max(-1, keepdims=True)).sum(-1) == 1
    parts["most"] = np.where(alone & value.any(-1), np.asarray(modalities)[value.argmax(-1)], "")


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


def _warnings(question: Question, found: dict[str, dict[str, Any]]) -> list[str]:
    """Collect the warnings that accompany an answer, one line each."""
    targets = question.targets() if "evidence" in question.want else []
    others = question.want != ["evidence"]
    return [
        *(nothing_given(question.dataset, question.given) if others else []),
        *(nothing_scored(question.dataset, targets) if targets else []),
        *not_finite(found, question.dataset, dict.fromkeys([*question.given, *targets])),
        *untrusted_weights(found, question.draws),
    ]
