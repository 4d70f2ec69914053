"""Queries: a program with fitted weights + what is given + what is wanted → the predictive distribution, per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from ..base.parsing import names as names_in
from ..base.parsing import size as size_in
from ..core.program import Program
from ..data.dataset import Dataset
from ..errors import UsageError, suggest
from .answer import Answer
from .memory import MEMORY, chunk, estimate
from .question import PRECISIONS, Question


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
        question.of_one_row, estimate(program), len(dataset), question.draws, question.held(), int(memory)
    )
    parts = [question.ask(rows, size.draws) for rows in torch.arange(len(dataset)).split(size.rows)]
    found = {
        name: {key: np.concatenate([p[name][key] for p in parts]) for key in parts[0][name]} for name in question.want
    }
    for name in question.want:
        if "prob" in found[name]:
            classes = list(program.modality(name).classes or ())
            found[name]["predicted"] = np.asarray(classes)[found[name]["prob"].argmax(-1)]
            found[name]["classes"] = classes
    features = {m.name: m.features for m in program.modalities if m.features and m.name in found}
    return Answer(run, None if given is None else list(given), dataset.ids, found, question.warnings(found), features)
