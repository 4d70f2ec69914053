"""What calibration asks about held-out rows: each name, given each set of modalities that does not hold it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from ...core.program import Program
from ...data.dataset import Dataset
from ...inference.draws import draw
from .noise import Residuals

MAX_FOR_ALL_SUBSETS = 4  # of more modalities: each one, all, and all but each one


@dataclass(frozen=True)
class Asked:
    """One given set, and the names that it is asked for.

    Args:
        given: names of the given set.
        names: name → numbers of the rows that have the whole given set and the name.
        rows: numbers of the rows that have the whole given set and any of the names.
    """

    given: tuple[str, ...]
    names: dict[str, Tensor]
    rows: Tensor


def given_sets(program: Program) -> list[tuple[str, ...]]:
    """List the sets of modalities from which a program is asked for the others.

    Args:
        program: the program.

    Returns:
        The conditions of a conditional program; else every non-empty subset of what its guide sees, without labels, or,
        of more than `MAX_FOR_ALL_SUBSETS`, each one, all, and all but each one.
    """
    if program.conditions:
        return [tuple(program.conditions)]
    names = [n for n in program.encoded if program.modality(n).role == "modality"]
    every = len(names) <= MAX_FOR_ALL_SUBSETS
    sizes = range(1, len(names) + 1) if every else sorted({1, len(names) - 1, len(names)})
    return [subset for size in sizes for subset in combinations(names, size)]


def questions(program: Program, rows: Dataset, least: int = 1) -> list[Asked]:
    """List what can be asked about some rows.

    Args:
        program: the program.
        rows: the rows.
        least: a name is asked only where so many rows have it and the given set.

    Returns:
        One question for each given set for which anything is asked. What the model has no distribution for is not.
    """
    found = []
    for given in given_sets(program):
        if program.can_answer(given):
            continue
        has = torch.stack([rows.observed[n] for n in given]).all(0)
        names = {n: (has & rows.observed[n]).nonzero().squeeze(-1) for n in program.targets() if n not in given}
        names = {n: numbers for n, numbers in names.items() if len(numbers) >= least}
        names = _scored(program, rows, given, names)
        if names:
            any_of = torch.cat([*names.values()]).unique()
            found.append(Asked(given, names, any_of))
    return found


def _scored(program: Program, rows: Dataset, given: tuple[str, ...], names: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of the names that are sites of the model: by default `Program.targets` are all names."""
    if not names:
        return {}
    first = next(iter(names.values()))[:1]
    batch, ids = rows.batch(first, program.encoded), rows.ids[first.numpy()]
    model = draw(program, batch, ids, range(1), given=given, scored=[*names]).model
    return {name: numbers for name, numbers in names.items() if name in model.nodes}


def predictions(
    program: Program, rows: Dataset, asked: Asked, draws: int, seed: int
) -> Iterator[tuple[str, Any, Tensor, Tensor]]:
    """Ask one question with keyed noise, which is the same at each call.

    Args:
        program: the program, in evaluation mode.
        rows: the rows.
        asked: the question.
        draws: how many latents are drawn per row.
        seed: of the noise.

    Yields:
        A name, its distribution given the draws, of batch shape (draws, B), the true values (B, *shape), and (B,) bool:
        the rows that count.
    """
    batch = rows.batch(asked.rows, program.encoded)
    traces = draw(
        program, batch, rows.ids[asked.rows.numpy()], range(draws), given=asked.given, scored=[*asked.names], seed=seed
    )
    for name in asked.names:
        fn = traces.model.nodes[name]["fn"]
        yield name, fn, batch.value(name), batch.observed[name]


def values_of(fn: Any) -> str | None:
    """Return `Likelihood.values` of a site's distribution; None: it is one of Pyro's (`from_pyro`)."""
    return getattr(fn, "values", None)


def log_predictive(fn: Any, truth: Tensor) -> Tensor:
    """The log of the predictive probability of each feature, of the mixture over the draws of the latent.

    Features count one by one: intervals and errors are of single features, and a mixture over few draws says little of
    many features at once. Numbers are scored by the moments of the mixture (see `Residuals.log_density`).

    Args:
        fn: distribution of batch shape (K, B), given K draws.
        truth: (B, *shape) values in model units.

    Returns:
        (B,) nats, for numbers the mean over the features that exist, for classes the sum over their positions.
    """
    values, present = values_of(fn), getattr(fn, "present", None)
    if values is None or fn.kind == "survival":  # of a censored time there is no error
        log_p = fn.log_prob(truth)
        return (log_p.logsumexp(0) - math.log(len(log_p))) / max(1, truth[0].numel())
    if values == "classes":
        chosen = fn.probs.mean(0).gather(-1, truth.long().unsqueeze(-1)).squeeze(-1)
        log_p = chosen.clamp_min(torch.finfo(chosen.dtype).tiny).log()
        log_p = log_p if present is None else torch.where(present, log_p, 0.0)
        return log_p.reshape(len(truth), -1).sum(1)
    flat = truth.reshape(len(truth), -1)
    mean = fn.mean.flatten(2) if truth.ndim > 1 else fn.mean.unsqueeze(-1)
    if not fn.density and values == "numbers":  # probabilities
        p = mean.mean(0).clamp(1e-6, 1 - 1e-6)
        log_p = torch.xlogy(flat, p) + torch.xlogy(1 - flat, 1 - p)
    else:
        log_p = Residuals.of(mean, fn.variance.reshape(mean.shape), flat).log_density()
    if present is None:
        return log_p.mean(1)
    there = present.expand(truth.shape).flatten(1)
    return torch.where(there, log_p, 0.0).sum(1) / there.sum(1).clamp_min(1)


def counted(fn: Any, rows: Tensor) -> Tensor:
    """Find what counts as a row of features where noise is calibrated, which the steps of a sequence share.

    Args:
        fn: likelihood of batch shape (K, B).
        rows: (B,) bool, the rows that count.

    Returns:
        (B,) bool; of a sequence (B, T) bool, the steps that these rows have.
    """
    if not fn.modality.sequence:
        return rows
    there = rows.reshape(-1, 1, 1) if fn.present is None else fn.present & rows.reshape(-1, 1, 1)
    return there.expand(len(rows), *fn.modality.shape)[..., 0]


def cells(fn: Any, rows: Tensor) -> Tensor | None:
    """Find the cells that rows have, of a modality of which some lack some.

    Args:
        fn: likelihood of batch shape (K, B).
        rows: (B,) bool, the rows that count.

    Returns:
        (n, D) bool, of these rows; None: they have all, or are steps of a sequence.
    """
    if fn.modality.sequence or fn.present is None:
        return None
    found: Tensor = fn.present.expand(len(rows), *fn.modality.shape).flatten(1)[rows]
    return found
