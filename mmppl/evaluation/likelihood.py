"""How probable a model finds the data, in nats per row and in the units of the input: each modality given each
conditioning set, and the evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..core.program import Program
from ..core.roles import generates
from ..data.dataset import Dataset
from ..inference.draws import draw
from ..inference.fitted import FittedModel
from ..inference.psis import MAX_KHAT
from .conditioning import BLOCK, has_all, has_any, set_name

MAX_FOR_EVIDENCE = 1000  # rows, evenly spaced
MAX_DISTRUSTED = 0.05  # share of rows with a large k̂, above which a standard error would mislead
EVIDENCE = ("evidence", "evidence_se", "evidence_distrusted")


def reconstruction(
    model: FittedModel, rows: Dataset, given: Sequence[str], names: Sequence[str], seed: int = 0
) -> dict[str, float]:
    """Compute −ln p(x | z), averaged over the rows that have x, for one draw of z per row.

    Args:
        model: the model.
        rows: the rows.
        given: the conditioning set, which may contain the scored names.
        names: the names that are scored.
        seed: the seed of the draws.

    Returns:
        name → nats per row in input units; names that no row has are left out.
    """
    return predictive_nats(model, rows, given, names, draws=1, seed=seed)


def predictive_nats(
    model: FittedModel, rows: Dataset, given: Sequence[str], names: Sequence[str], *, draws: int, seed: int = 0
) -> dict[str, float]:
    """Compute −ln of the predictive density of x, averaged over the rows that have x: −ln 1/S Σ_s p(x | z_s) with S
    draws z_s from the answer to what is given.

    On average it is no smaller than with more draws (Jensen), and with one draw it is `reconstruction`.

    Args:
        model: the model.
        rows: the rows.
        given: the conditioning set; a row is answered from what it has of it.
        names: the names that are scored.
        draws: S.
        seed: the seed of the draws.

    Returns:
        name → nats per row in input units; names that no row has are left out.
    """
    if not len(rows):
        return {}
    blocks = torch.arange(len(rows)).split(max(1, BLOCK // draws))
    parts = [_log_densities(model.program, rows, block, given, names, draws, seed) for block in blocks]
    every = {name: torch.cat([part[name] for part in parts]) for name in names}
    return {name: -float(values.mean()) for name, values in every.items() if len(values)}


@torch.no_grad()
def _log_densities(
    program: Program, rows: Dataset, block: Tensor, given: Sequence[str], names: Sequence[str], draws: int, seed: int
) -> dict[str, Tensor]:
    """name → ln 1/S Σ_s p(x | z_s) in input units, of the rows of a block that have x."""
    batch = rows.batch(block, program.encoded)
    model = draw(program, batch, rows.ids[block.numpy()], range(draws), given=given, scored=names, seed=seed).model
    found = {}
    for name in names:
        value = batch.value(name)
        each = model.nodes[name]["fn"].log_prob(value).double().reshape(-1, len(batch))
        density = each.expand(draws, -1).logsumexp(0) - math.log(draws)
        jacobian = program.modality(name).log_jacobian(value, batch.present.get(name))
        found[name] = (density + jacobian)[batch.observed[name]]
    return found


def evidence(
    model: FittedModel, rows: Dataset, sets: Sequence[Sequence[str]], draws: int, seed: int, log: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Estimate ln p(the other modalities | a conditioning set), each where a row has it, by importance sampling.

    Under "nothing" it is that of all modalities. An estimate of ln p is a lower bound on average; given something, it
    is a difference of two such estimates, which is no bound, neither lower nor upper. See `mmppl.inference.query.ask`.

    Args:
        model: the model.
        rows: the rows; `MAX_FOR_EVIDENCE` evenly spaced ones are used if there are more.
        sets: the conditioning sets.
        draws: the number of draws per row.
        seed: the seed of the draws.
        log: receives one line per query.

    Returns:
        "evidence" → {set: mean over the rows that have all of the set and any of the others}; "evidence_se" → the
        standard error of that mean from the spread over rows, which includes that of the draws, absent where more than
        `MAX_DISTRUSTED` of the rows are distrusted, since it does not know how far those are off; "evidence_distrusted"
        → the share of rows with k̂ above `MAX_KHAT`, in one of the two estimates.
    """
    program = model.program
    some = rows.take(_some(len(rows)))
    known: dict[frozenset[str], tuple[np.ndarray, np.ndarray]] = {}

    def of(names: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return ln p(names | conditions) and k̂ of every row."""
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
        has = (has_any(some, others) & has_all(some, given)).numpy()
        (whole, khat), (part, khat_of_part) = of(frozenset([*given, *others])), of(frozenset(given))
        difference, distrusted = (whole - part)[has], np.maximum(khat, khat_of_part)[has] > MAX_KHAT
        if has.sum() > 1:
            error = difference.std(ddof=1) / np.sqrt(has.sum())
            share = float(distrusted.mean())
            numbers = {"evidence": difference.mean(), "evidence_se": error, "evidence_distrusted": share}
            for name, number in numbers.items():
                if name != "evidence_se" or share <= MAX_DISTRUSTED:
                    found[name][set_name(given)] = float(number)
    return found


def evidence_of_rows(model: FittedModel, rows: Dataset, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Estimate ln p of all modalities that rows have, by importance sampling; on average it is a lower bound.

    Args:
        model: a model that conditions on nothing.
        rows: the rows; `MAX_FOR_EVIDENCE` evenly spaced ones are used if there are more.
        draws: the number of draws per row.
        seed: the seed of the draws.

    Returns:
        (n,) numbers of the rows that have a modality, (n,) nats of each, and the share of them with k̂ above
        `MAX_KHAT`.

    Raises:
        UsageError: the program has no density.
    """
    names = generates(model.program)
    numbers = _some(len(rows))
    numbers = numbers[has_any(rows, names)[numbers]]
    answer = model.query(rows.take(numbers), given=names, want=["evidence"], draws=draws, seed=seed, split="all")
    khat = answer["evidence"]["khat"]
    return numbers.numpy(), answer["evidence"]["nats"], float((khat > MAX_KHAT).mean())


def _some(rows: int) -> Tensor:
    """Evenly spaced row numbers, at most `MAX_FOR_EVIDENCE` of them."""
    return torch.linspace(0, rows - 1, min(rows, MAX_FOR_EVIDENCE)).long()
