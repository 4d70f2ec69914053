"""Masking modalities on purpose, to train and evaluate with missing ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..base.random import generator
from ..errors import UsageError, suggest
from ..modalities.modality import Modality


def mask_at_random(
    observed: Tensor,
    names: Sequence[str],
    *,
    rate: float | Mapping[str, float],
    patterns: Sequence[Sequence[str]] | None,
    keep_one: bool,
    seed: int,
) -> Tensor:
    """Choose which modalities stay observed when some are masked at random.

    Args:
        observed: (N, M) bool, columns in the order of `names`.
        names: the M names.
        rate: the probability that a row loses a modality: one number for all, or one per name (a name that is left out
            loses nothing).
        patterns: instead of a rate, sets of names, such as "image+word" or a sequence; each row keeps only the
            modalities of one set, and all sets are equally likely.
        keep_one: if True, a row that has a modality keeps one. A pattern that shares no modality with a row is not
            drawn for it, and a row that would lose all its modalities keeps one, drawn with odds 1 − rate.
        seed: the seed of the draw.

    Returns:
        (N, M) bool, a subset of `observed`.

    Raises:
        UsageError: a name is unknown, a rate is outside [0, 1], or both a rate and patterns are given.
    """
    draw = generator(seed, "hide")
    rates = torch.tensor(_rates(rate, names), dtype=torch.float64)
    if patterns is None:
        keep = observed & (torch.rand(observed.shape, generator=draw, dtype=torch.float64) >= rates)
    elif rates.any():
        raise UsageError("hide: give a rate or patterns, not both.")
    else:
        allowed = torch.tensor([[name in _pattern(p, names) for name in names] for p in patterns], dtype=torch.bool)
        if not len(allowed):
            raise UsageError('hide: patterns is empty; give at least one, e.g. "image+word".')
        odds = torch.ones(len(observed), len(allowed), dtype=torch.float64)
        if keep_one:
            fits = (observed.unsqueeze(1) & allowed).any(-1)
            odds = torch.where(fits.any(-1, keepdim=True), fits.double(), odds)
        keep = observed & allowed[torch.multinomial(odds, 1, generator=draw).squeeze(-1)]
    if keep_one:
        stripped = (observed.any(-1) & ~keep.any(-1)).nonzero().squeeze(-1)
        if len(stripped):
            # The odds are nearly zero, not zero: a modality of rate 1 is kept only where the row has nothing else.
            odds = observed[stripped] * (1 - rates + 1e-9)
            keep[stripped, torch.multinomial(odds, 1, generator=draw).squeeze(-1)] = True
    return keep


def hidden_cells(
    modalities: Sequence[Modality],
    observed: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    rate: float,
    seed: int,
) -> dict[str, Tensor]:
    """Choose which cells stay when some are masked at random, in modalities of several cells that are no sequences.

    Args:
        modalities: the schema; labels lose nothing.
        observed: name → (N,) bool.
        present: name → bool, broadcastable to (N, *shape), of modalities of which rows lack cells.
        rate: the probability that a cell is masked. A row keeps one cell of every modality that it has.
        seed: the seed of the draw.

    Returns:
        name → (N, *shape) bool, the cells that rows still have; without the modalities that lose none.

    Raises:
        UsageError: the rate is outside [0, 1), or there is no modality of several cells.
    """
    if not rate:
        return {}
    if not 0 <= rate < 1:
        raise UsageError(f"hide_cells: {rate} is no share of the cells; give a number from 0 to below 1.")
    found = {}
    own = [m for m in modalities if m.role == "modality" and m.size > 1 and not m.sequence and m.family.elements]
    if not own:
        raise UsageError("hide_cells: no modality has several cells; hide modalities (hide).")
    for m in own:
        draw = generator(seed, "hide-cells", m.name)
        there = observed[m.name].reshape(-1, *[1] * len(m.shape)).expand(-1, *m.shape)
        there = (there & present[m.name].reshape(-1, *m.shape) if m.name in present else there).flatten(1)
        chance = torch.where(there, torch.rand(there.shape, generator=draw, dtype=torch.float64), -1.0)
        last = torch.zeros_like(there).scatter_(1, chance.argmax(1, keepdim=True), True)
        left = there & ((chance >= rate) | last)
        if not torch.equal(left, there):
            found[m.name] = left.reshape(-1, *m.shape)
    return found


def _rates(rate: float | Mapping[str, float], names: Sequence[str]) -> list[float]:
    given = rate if isinstance(rate, Mapping) else dict.fromkeys(names, rate)
    for name, value in given.items():
        _check_name(name, names)
        if not 0 <= value <= 1:
            raise UsageError(f"hide: rate {value} of {name!r} is not a probability; give a number from 0 to 1.")
    return [float(given.get(name, 0.0)) for name in names]


def _pattern(pattern: Sequence[str], names: Sequence[str]) -> set[str]:
    chosen = set(pattern.split("+") if isinstance(pattern, str) else pattern)
    for name in sorted(chosen):
        _check_name(name, names)
    return chosen


def _check_name(name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise UsageError(
            f"hide: no modality {name!r} (labels are not hidden); there are {', '.join(names)}."
            f"{suggest(name, list(names))}"
        )
