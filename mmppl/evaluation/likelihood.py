"""How probable a run finds the data, in nats per row and in the units of the input: each modality given each
conditioning set beside what is known without a latent model, and the evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..core.program import Program, generates
from ..data.dataset import Dataset
from ..inference.draws import draw
from ..inference.fitted import FittedModel
from ..inference.psis import MAX_KHAT
from .conditioning import BLOCK, set_name

MOST_FOR_EVIDENCE = 1000  # rows, evenly spaced
EVIDENCE = ("evidence", "evidence_se", "evidence_distrusted")


def reconstruction(
    model: FittedModel, rows: Dataset, given: Sequence[str], names: Sequence[str], seed: int = 0
) -> dict[str, float]:
    """Per name −ln p(x | z), averaged over the rows that have it, from one draw of z per row given a conditioning set
    (which may hold the name)."""
    parts = [
        _log_densities(model.program, rows, block, given, names, seed) for block in torch.arange(len(rows)).split(BLOCK)
    ]
    every = {name: torch.cat([part[name] for part in parts]) for name in names}
    return {name: -float(values.mean()) for name, values in every.items() if len(values)}


@torch.no_grad()
def _log_densities(
    program: Program, rows: Dataset, block: Tensor, given: Sequence[str], names: Sequence[str], seed: int
) -> dict[str, Tensor]:
    """name → ln p(x | z) in input units of the rows of a block that have it."""
    batch = rows.batch(block, program.encoded)
    model = draw(program, batch, rows.ids[block.numpy()], range(1), given=given, scored=names, seed=seed).model
    found = {}
    for name in names:
        value = batch.value(name)
        density = model.nodes[name]["fn"].log_prob(value).double().reshape(len(batch))
        found[name] = (density + program.modality(name).log_jacobian(value))[batch.observed[name]]
    return found


def evidence(
    model: FittedModel, rows: Dataset, sets: Sequence[Sequence[str]], draws: int, seed: int, log: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """ln p(the other modalities | a conditioning set), each where a row has it, by importance sampling.

    Under "nothing": of all modalities. See `mmppl.query.ask`. Means over the rows that have any of the others, of
    `MOST_FOR_EVIDENCE` evenly spaced ones if there are more; standard errors of these means, from the spread over rows,
    which holds that of the draws; shares of rows with k̂ above `MAX_KHAT`.
    """
    program = model.program
    some = rows.take(torch.linspace(0, len(rows) - 1, min(len(rows), MOST_FOR_EVIDENCE)).long())
    known: dict[frozenset[str], tuple[np.ndarray, np.ndarray]] = {}

    def of(names: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
        """ln p(names | conditions) and k̂ of every row."""
        if names <= {*program.conditions}:
            return np.zeros(len(some)), np.zeros(len(some))
        if names not in known:
            given = [m.name for m in program.modalities if m.name in names]
            log(f"evidence of {set_name(given)}: {len(some):,} rows, {draws} draws")
            answer = model.query(some, given=given, want=["evidence"], draws=draws, seed=seed, split="all")
            known[names] = answer["evidence"]["nats"], answer["evidence"]["khat"]
        return known[names]

    found: dict[str, dict[str, float]] = {name: {} for name in EVIDENCE}
    for given in sets if program.conditions else ((), *sets):
        others = [name for name in generates(program) if name not in given]
        if not others:
            continue
        has = torch.stack([some.observed[name] for name in others]).any(0).numpy()
        (whole, khat), (part, khat_of_part) = of(frozenset([*given, *others])), of(frozenset(given))
        difference, distrusted = (whole - part)[has], np.maximum(khat, khat_of_part)[has] > MAX_KHAT
        if has.sum() > 1:
            error = difference.std(ddof=1) / np.sqrt(has.sum())
            for name, number in zip(EVIDENCE, (difference.mean(), error, distrusted.mean())):
                found[name][set_name(given)] = float(number)
    return found
