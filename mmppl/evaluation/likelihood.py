"""How probable a run finds the data, in nats per row and in the units of the input: each modality given each
conditioning set beside what is known without a latent model, and the evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor

from ..core.program import Program, class_label, generates
from ..data.dataset import Dataset
from ..errors import UsageError
from ..inference.keyed_noise import KeyedNoise
from ..inference.psis import DISTRUSTED
from ..modalities.modality import Modality
from .baselines import nll_of_means
from .conditioning import BLOCK, set_name

if TYPE_CHECKING:
    from ..runs.run import Run

MOST_FOR_EVIDENCE = 1000  # rows, evenly spaced
EVIDENCE = ("evidence", "evidence_se", "evidence_distrusted")


def log_likelihood_names(program: Program) -> list[str]:
    """Every metric of this module that a program has."""
    made = generates(program)
    names = [f"{name}.{m}" for m in made for name in ("nll", *_anchors(program, program.modality(m)))]
    return [*names, *(EVIDENCE if made else ())]


def log_likelihood(
    run: Run,
    train: Dataset | None,
    test: Dataset,
    sets: Sequence[Sequence[str]],
    wanted: Sequence[str],
    *,
    draws: int,
    seed: int = 0,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Those of `wanted` ("nll.image", "evidence", ...) that there are, as `evaluate` returns them."""
    program = run.program
    found: dict[str, Any] = {}
    names = [name for name in generates(program) if f"nll.{name}" in wanted]
    for given in sets if names else ():
        log(f"nats of {', '.join(names)} given {set_name(given)}: {len(test):,} rows")
        for name, number in reconstruction(run, test, given, names, seed).items():
            found.setdefault(f"nll.{name}", {})[set_name(given)] = number
    for m in map(program.modality, generates(program)):
        if train is not None and any(f"{anchor}.{m.name}" in wanted for anchor in _anchors(program, m)):
            anchors = nll_of_means(train, test, m, class_label(program))
            found |= {f"{anchor}.{m.name}": number for anchor, number in anchors.items()}
    if any(name in wanted for name in EVIDENCE):
        try:
            found |= evidence(run, test, sets, draws, seed, log)
        except UsageError as error:
            log(f"no evidence: {error}")
    return found


def reconstruction(
    run: Run, rows: Dataset, given: Sequence[str], names: Sequence[str], seed: int = 0
) -> dict[str, float]:
    """Per name −ln p(x | z), averaged over the rows that have it, from one draw of z per row given a conditioning set
    (which may hold the name)."""
    parts = [
        _log_densities(run.program, rows, block, given, names, seed) for block in torch.arange(len(rows)).split(BLOCK)
    ]
    every = {name: torch.cat([part[name] for part in parts]) for name in names}
    return {name: -float(values.mean()) for name, values in every.items() if len(values)}


@torch.no_grad()
def _log_densities(
    program: Program, rows: Dataset, block: Tensor, given: Sequence[str], names: Sequence[str], seed: int
) -> dict[str, Tensor]:
    """name → ln p(x | z) in input units of the rows of a block that have it."""
    batch = rows.batch(block, program.encoded)
    with KeyedNoise(seed, rows.ids[block.numpy()], 1), pyro.plate("draws", 1, dim=-2), pyro.validation_enabled(False):
        answer = poutine.trace(program.query_guide).get_trace(batch.seeing(given))
        scored = batch.wanting([], names)
        model = poutine.trace(poutine.replay(program.model, trace=answer)).get_trace(scored)
    found = {}
    for name in names:
        value = batch.value(name)
        density = model.nodes[name]["fn"].log_prob(value).double().reshape(len(batch))
        found[name] = (density + program.modality(name).log_jacobian(value))[batch.observed[name]]
    return found


def evidence(
    run: Run, rows: Dataset, sets: Sequence[Sequence[str]], draws: int, seed: int, log: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """ln p(the other modalities | a conditioning set), each where a row has it, by importance sampling.

    Under "nothing": of all modalities. See `mmppl.query.ask`. Means over the rows that have any of the others, of
    `MOST_FOR_EVIDENCE` evenly spaced ones if there are more; standard errors of these means, from the spread over rows,
    which holds that of the draws; shares of rows with k̂ above `DISTRUSTED`.
    """
    program = run.program
    some = rows.take(torch.linspace(0, len(rows) - 1, min(len(rows), MOST_FOR_EVIDENCE)).long())
    known: dict[frozenset[str], tuple[np.ndarray, np.ndarray]] = {}

    def of(names: frozenset[str]) -> tuple[np.ndarray, np.ndarray]:
        """ln p(names | conditions) and k̂ of every row."""
        if names <= {*program.conditions}:
            return np.zeros(len(some)), np.zeros(len(some))
        if names not in known:
            given = [m.name for m in program.modalities if m.name in names]
            log(f"evidence of {set_name(given)}: {len(some):,} rows, {draws} draws")
            answer = run.query(some, given=given, want=["evidence"], draws=draws, seed=seed, split="all")
            known[names] = answer["evidence"]["nats"], answer["evidence"]["khat"]
        return known[names]

    found: dict[str, dict[str, float]] = {name: {} for name in EVIDENCE}
    for given in sets if program.conditions else ((), *sets):
        others = [name for name in generates(program) if name not in given]
        if not others:
            continue
        has = torch.stack([some.observed[name] for name in others]).any(0).numpy()
        (whole, khat), (part, khat_of_part) = of(frozenset([*given, *others])), of(frozenset(given))
        difference, distrusted = (whole - part)[has], np.maximum(khat, khat_of_part)[has] > DISTRUSTED
        if has.sum() > 1:
            error = difference.std(ddof=1) / np.sqrt(has.sum())
            for name, number in zip(EVIDENCE, (difference.mean(), error, distrusted.mean())):
                found[name][set_name(given)] = float(number)
    return found


def _anchors(program: Program, m: Modality) -> list[str]:
    """Names of what `nll_of_means` has for a modality."""
    return [name for name in m.family.anchors if name != "nll_class" or class_label(program)]
