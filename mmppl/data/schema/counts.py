"""Whole numbers and proportions that nobody named a likelihood for: which one the training rows prefer.

One half of the training rows fits a distribution without a latent to each feature by its moments, and the other half
scores it, in nats of the numbers as they are in the input: a Normal counts with the probability of the unit around a
whole number, so that it compares with likelihoods of counts. Of other rows the choice depends only on whether the
likelihood can have their values at all: where it cannot, a Normal stays, and the first such value is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...base.disk.maps import row_blocks
from ...modalities.array_facts import FEW, ArrayFacts
from ...modalities.likelihoods.contest import contenders, of_library_size
from ...modalities.likelihoods.counts.count import CountLikelihood
from ...modalities.likelihoods.registry import LIKELIHOODS
from ...modalities.modality import Modality
from ..examine.finding import Finding
from .arrays import Table
from .overrides import Override

FEWEST = 100  # training rows, below which a comparison says little and nothing is changed
ROWS, NUMBERS = 2000, 1_000_000  # that are looked at, at most
SIZED = 50  # columns of counts, from which a row's total may be its library size
LARGEST = 2**24  # counts above are no whole numbers in float32
ENDS = 0.01  # share of exact zeros and ones, from which proportions are no Betas
MARGIN = 0.01  # nats a number by which a Normal has to lose; less would hang on single rows
TO_LEARN = (1.0, 1.0)  # a size factor whose numbers are not learned yet


def settled(
    table: Table, modalities: Sequence[Modality], use: Mapping[str, np.ndarray], overrides: Mapping[str, Override]
) -> tuple[tuple[Modality, ...], list[Finding]]:
    """Settle the likelihoods of counts and proportions, and which counts have a size factor.

    Args:
        table: the parsed arrays.
        modalities: what was inferred of them.
        use: name → (N,) bool, the training rows that may be looked at.
        overrides: name → what the user says; a likelihood that is named stays.

    Returns:
        The modalities, where a size factor is still to be learned (`with_size_factor`), and a finding for each choice.
    """
    found, told = [], []
    for m in modalities:
        how, why = overrides.get(m.name), ""
        if how is None and m.role == "modality" and {"counts", "shares"} <= {*getattr(m.family, "contests", ())}:
            m, why = _chosen(m, table, use[m.name])
        elif how is not None and issubclass(m.family, CountLikelihood):
            m, why = _sized(m, table, use[m.name], how.size)
        if why:
            told.append(Finding("understood", m.name, why))
        found.append(m)
    return tuple(found), told


def with_size_factor(m: Modality, value: np.ndarray, there: np.ndarray) -> Modality:
    """Learn mean and spread of the size factors of a modality that has them.

    Args:
        m: the modality, with its `input_scaling`.
        value: (n, *shape) counts of the training rows.
        there: bool, broadcastable to them, the elements that exist.

    Returns:
        The modality with both numbers.
    """
    flat = value.reshape(len(value), -1)
    sizes = CountLikelihood.size_factors(m, flat, np.broadcast_to(there, value.shape).reshape(flat.shape))
    if not len(sizes):
        return m
    mean = float(sizes.mean())
    return replace(m, size_factor=(mean, max(float(sizes.var()) / mean**2, 1e-4)))


def learnt_size(m: Modality, table: Table, use: np.ndarray) -> Modality:
    """Do the same from a table.

    Args:
        m: the modality.
        table: the parsed arrays.
        use: (N,) bool, the rows to learn from.

    Returns:
        The modality; as it is if it has no size factor.
    """
    return m if m.size_factor is None else with_size_factor(m, *_rows(m, table, use))


def _rows(m: Modality, table: Table, use: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some of the rows to look at, evenly spaced: (n, *shape) float64 and bool, which of their elements exist."""
    at = np.flatnonzero(use)
    most = min(ROWS, max(FEWEST, NUMBERS // max(m.size, 1)))
    at = at[np.linspace(0, len(at) - 1, min(len(at), most)).astype(int)]
    value = table.arrays[m.name][at].astype(np.float64).reshape(-1, *m.shape)
    there = table.present[m.name][at] if m.name in table.present else np.ones((len(at), *[1] * len(m.shape)), bool)
    return value, np.broadcast_to(there.reshape(len(at), *there.shape[1:]), value.shape)


def _halves(value: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n, features) of both halves: values and which exist. The steps of a sequence are one row here."""
    flat, kept = value.reshape(len(value), -1), there.reshape(len(value), -1)
    flat = np.where(kept, flat, 0.0)
    return flat[::2], kept[::2], flat[1::2], kept[1::2]


def _chosen(m: Modality, table: Table, use: np.ndarray) -> tuple[Modality, str]:
    """The likelihood that the rows prefer to a Normal, and why; "" where it stays a Normal."""
    array = table.arrays[m.name]
    facts = ArrayFacts(
        m.name, m.shape, array.dtype, array.dtype.kind, False,
        lambda: _of_use(m, table, use),
    )  # fmt: skip
    counts = _are_counts(m, facts)
    if use.sum() < FEWEST or not (counts or _are_shares(m, facts)):
        return m, ""
    halves = _halves(*_rows(m, table, use))
    scored = max(int(halves[3].sum()), 1)
    fits = contenders("counts" if counts else "shares")
    nats = {name: float(np.where(halves[3], fit(*halves), 0.0).sum()) / scored for name, fit in fits.items()}
    own = [name for name in nats if name.partition(" ")[0] == m.likelihood]
    of_sizes = ""
    if counts and m.size >= SIZED:
        name, total = of_library_size(*halves)
        of_sizes = f"{name} of a library size"
        nats[of_sizes] = total / scored
    best = max(nats, key=lambda name: nats[name])
    if nats[best] < MARGIN + max(nats[name] for name in own):
        return m, ""
    likelihood = best.partition(" ")[0]
    chosen = replace(m, likelihood=likelihood, transform=LIKELIHOODS[likelihood].transforms("none")[0])
    if (odd := _impossible(chosen, table)) is not None:
        return m, f"{m.name}: training rows prefer {best} to {m.likelihood}, which stays, because {odd}"
    others = [f"by {nats[best] - nats[name]:.2g} to {name}" for name in nats if name != best]
    what = "whole numbers that are counts" if counts else "proportions"
    why = (
        f"{m.name}: {what}, taken for {best}, which held-out training rows prefer ({', '.join(others)}, in nats a "
        f"number); --as {m.name}={m.likelihood} takes {'logs' if counts else 'any number'}"
    )
    if best == of_sizes:
        chosen = replace(chosen, size_factor=TO_LEARN)
        why = f"{why}, --as {m.name}={likelihood}:size=none takes rows as they are"
    return chosen, why


def _of_use(m: Modality, table: Table, use: np.ndarray) -> Iterator[np.ndarray]:
    """The observed values of the rows to look at, some rows at a time, as `Table.seen` has them."""
    array = table.arrays[m.name]
    for at in row_blocks(array):
        rows = use[at]
        if m.name in table.present:
            there = table.present[m.name][at][rows]
            yield array[at][rows][there[..., 0] if m.sequence else there]
        else:
            yield array[at][rows]


def _impossible(m: Modality, table: Table) -> str | None:
    """The first value in any row that the likelihood cannot have, in words; None if there is none."""
    array = table.arrays[m.name]
    for at in row_blocks(array):
        value = array[at].astype(np.float64)
        with np.errstate(invalid="ignore"):  # masked values may be anything
            wrong, why = m.family.illegal(value)
            if m.family.values == "counts":
                wrong = wrong | (value >= LARGEST)
        wrong = wrong & table.there(m.name, at)
        if wrong.any():
            row, *column = (int(i) for i in np.argwhere(wrong)[0])
            found = f"{table.place(m.name, at.start + row, column)}: {array[(at.start + row, *column)].item()!r}"
            return f"{found} {why.partition('; ')[0].partition(',')[0].rstrip('.')}"
    return None


def _are_counts(m: Modality, facts: ArrayFacts) -> bool:
    """Whole numbers from 0 on, those in an array of floats too, that float32 holds."""
    if m.transform != "log1p":
        if facts.kind != "f" or len(m.shape) > 1 or not facts.nonnegative or not facts.whole:
            return False
        if len(facts.distinct) <= FEW or facts.zeros_apart:
            return False
    return all(part.max(initial=0) < LARGEST for part in facts.parts())


def _are_shares(m: Modality, facts: ArrayFacts) -> bool:
    """Numbers in [0, 1] that are no image, hardly any of them exactly 0 or 1."""
    if m.transform != "standardise" or facts.kind != "f" or len(m.shape) > 1 or not facts.in_unit:
        return False
    found = [(int(((part == 0) | (part == 1)).sum()), part.size) for part in facts.parts()]
    return sum(ends for ends, _ in found) <= ENDS * sum(size for _, size in found)


def _sized(m: Modality, table: Table, use: np.ndarray, wanted: str | None) -> tuple[Modality, str]:
    """Whether counts have a size factor: as the user says, else of many columns where the rows prefer it."""
    to_learn = replace(m, size_factor=TO_LEARN)
    if wanted is not None:
        return (to_learn if wanted == "total" else m), ""
    if m.size < SIZED or use.sum() < FEWEST:
        return m, ""
    x, there, y, kept = _halves(*_rows(m, table, use))
    scored = max(int(kept.sum()), 1)
    name, total = of_library_size(x, there, y, kept)
    plain = np.where(kept, contenders("counts")[name](x, there, y, kept), 0.0).sum() / scored
    with_size = total / scored
    if not with_size > plain:
        return m, ""
    return to_learn, (
        f"{m.name}: a row's total is its library size, to which its means are proportional; held-out training rows "
        f"prefer it (by {with_size - plain:.2g} nats a number); --as {m.name}={m.likelihood}:size=none leaves it out"
    )
