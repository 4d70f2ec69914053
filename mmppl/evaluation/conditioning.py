"""What a program is asked to answer from: conditioning sets, the rows that have them, and the label that judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Literal

import torch

from ..core.program import Program
from ..data.dataset import Dataset
from ..errors import DataError, UsageError, suggest
from ..inference.fitted import FittedModel

BLOCK = 2500  # rows asked about at once: with one draw each, what convolutions leave behind is the largest
MOST_FOR_ALL_SUBSETS = 4  # beyond so many modalities: each one alone, and all together


def default_conditioning_sets(program: Program) -> list[tuple[str, ...]]:
    """What a program is asked to answer from: its conditions; or else every non-empty subset of the modalities that its
    guide may see, smallest first (beyond `MOST_FOR_ALL_SUBSETS` of them each alone and all together)."""
    if program.conditions:
        return [tuple(program.conditions)]
    names = [name for name in program.encoded if program.modality(name).role == "modality"]
    sizes = range(1, len(names) + 1) if len(names) <= MOST_FOR_ALL_SUBSETS else (1, len(names))
    return [subset for size in sizes for subset in combinations(names, size)]


def set_name(given: Sequence[str]) -> str:
    """The names joined by "+", as in "image+word"; "nothing" for the empty set."""
    return "+".join(given) or "nothing"


def answerable_rows(
    program: Program, dataset: Dataset, split: Literal["train", "valid", "test", "all"]
) -> tuple[Dataset, int]:
    """The rows of a part that have all that the program conditions on, and how many have not."""
    rows = dataset.rows(split)
    has = torch.ones(len(rows), dtype=torch.bool)
    for name in program.conditions:
        has &= dataset.observed[name][rows]
    if not has.any():
        lack = f" with {', '.join(program.conditions)}" if program.conditions else ""
        raise DataError(f"{dataset.name}: no {split} row{lack} to ask about; choose another part (--split all).")
    return dataset.take(rows[has]), int((~has).sum())


def sees(dataset: Dataset, given: Sequence[str]) -> torch.Tensor:
    """(N,) bool: the row has any of the given modalities."""
    return torch.stack([dataset.observed[n] for n in given]).any(0) if given else torch.zeros(len(dataset)).bool()


def in_blocks(
    model: FittedModel, rows: Dataset, *, given: Sequence[str], want: Sequence[str], seed: int = 0
) -> Iterator[tuple[torch.Tensor, dict[str, dict[str, Any]]]]:
    """Answers from one draw per row, block by block: row numbers, and what `Answer.want` holds of them."""
    for block in torch.arange(len(rows)).split(BLOCK):
        part = rows if len(block) == len(rows) else rows.take(block)
        yield block, model.query(part, given=given, want=want, draws=1, seed=seed, split="all", quantiles=()).want


def conditioning_set(program: Program, names: str | Sequence[str]) -> tuple[str, ...]:
    """The names of a conditioning set, a sequence or joined by "+", in the order of the program's modalities."""
    chosen = [part for part in names.split("+") if part] if isinstance(names, str) else list(names)
    known = [m.name for m in program.modalities]
    for name in chosen:
        if name not in known:
            raise UsageError(f"conditioning set {set_name(chosen)!r}: no modality {name!r}.{suggest(name, known)}")
    if reason := program.can_answer(chosen):
        raise UsageError(f"conditioning set {set_name(chosen)!r}: {reason}.")
    return tuple(name for name in known if name in chosen)
