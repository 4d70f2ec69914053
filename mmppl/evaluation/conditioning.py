"""Conditioning sets, and the rows that an evaluation asks about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Literal

import torch

from ..base.disk.maps import is_mapped
from ..core.program import Program
from ..data.dataset import Dataset
from ..errors import DataError, UsageError, suggest
from ..inference.fitted import FittedModel
from ..modalities.groups import members

BLOCK = 2500  # rows asked about at once, with one draw each; the outputs of convolutions take the most memory
NUMBERS, LEAST = 2**22, 1000  # of a modality in all rows that are evaluated, and rows, of data that are kept on disk
MAX_FOR_ALL_SUBSETS = 4  # of more modalities, each alone, all but each, and all together


def default_conditioning_sets(program: Program) -> list[tuple[str, ...]]:
    """Choose the conditioning sets that a program is evaluated with.

    Args:
        program: the program.

    Returns:
        The conditions of the program. Without any, every non-empty subset of the modalities that its guide may see and
        that it can answer from, smallest first; of more than `MAX_FOR_ALL_SUBSETS` modalities, each one alone, all but
        each one, and all together.
    """
    if program.conditions:
        return [tuple(program.conditions)]
    names = [name for name in program.encoded if program.modality(name).role == "modality"]
    sizes = range(1, len(names) + 1) if len(names) <= MAX_FOR_ALL_SUBSETS else (1, len(names) - 1, len(names))
    subsets = (subset for size in sizes for subset in combinations(names, size))
    return [subset for subset in subsets if program.can_answer(subset) is None]


def set_name(given: Sequence[str]) -> str:
    """Name a conditioning set.

    Args:
        given: its names.

    Returns:
        The names joined by "+", as in "image+word"; "nothing" for the empty set.
    """
    return "+".join(given) or "nothing"


def answerable_rows(
    program: Program, dataset: Dataset, split: Literal["train", "valid", "test", "all"]
) -> tuple[Dataset, int]:
    """Select the rows of a part that have everything the program conditions on.

    Args:
        program: the program.
        dataset: the data.
        split: the part.

    Returns:
        These rows (of data that are kept on disk perhaps a `sample` of them), and how many lack a condition.

    Raises:
        DataError: no row is left.
    """
    chosen, left_out = row_numbers_to_ask(program, dataset, split)
    return dataset.take(chosen), left_out


def row_numbers_to_ask(
    program: Program, dataset: Dataset, split: Literal["train", "valid", "test", "all"]
) -> tuple[torch.Tensor, int]:
    """Find the rows that `answerable_rows` selects.

    Args:
        program: the program.
        dataset: the data.
        split: the part.

    Returns:
        (n,) their numbers in the data set, and how many rows of the part lack a condition.

    Raises:
        DataError: no row is left.
    """
    rows = dataset.rows(split)
    has = has_all(dataset, program.conditions)[rows]
    if not has.any():
        lack = f" with {', '.join(program.conditions)}" if program.conditions else ""
        raise DataError(f"{dataset.name}: no {split} row{lack} to ask about; choose another part (--split all).")
    return sample(dataset, rows[has]), int((~has).sum())


def sample(dataset: Dataset, rows: torch.Tensor) -> torch.Tensor:
    """Choose some of the rows of data that are kept on disk, whose answers would not fit into memory.

    Args:
        dataset: the data.
        rows: (n,) row numbers.

    Returns:
        All of them where the data are kept in memory; else as many, evenly spaced, as their widest modality has
        `NUMBERS` numbers in, and `LEAST` at least.
    """
    if not any(is_mapped(value) for value in dataset.values.values()):
        return rows
    most = max(LEAST, NUMBERS // max(m.size * max(1, m.n_classes) for m in dataset.modalities))
    return rows if len(rows) <= most else rows[torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).long()]


def has_any(dataset: Dataset, given: Sequence[str]) -> torch.Tensor:
    """Find the rows that have any of the given modalities.

    Args:
        dataset: N rows.
        given: the names of the modalities.

    Returns:
        (N,) bool.
    """
    return torch.stack([dataset.observed[n] for n in given]).any(0) if given else torch.zeros(len(dataset)).bool()


def has_all(dataset: Dataset, given: Sequence[str]) -> torch.Tensor:
    """Find the rows that have all of the given modalities: those that a conditioning set is evaluated on.

    Args:
        dataset: N rows.
        given: the names of the modalities.

    Returns:
        (N,) bool; True everywhere if nothing is given.
    """
    return torch.stack([dataset.observed[n] for n in given]).all(0) if given else torch.ones(len(dataset)).bool()


def with_all(dataset: Dataset, given: Sequence[str]) -> Dataset:
    """Select the rows that have all of the given modalities.

    Args:
        dataset: N rows.
        given: the names of the modalities.

    Returns:
        These rows; the data set itself if it has no others.
    """
    has = has_all(dataset, given)
    return dataset if has.all() else dataset.take(has.nonzero().squeeze(-1))


def in_blocks(
    model: FittedModel, rows: Dataset, *, given: Sequence[str], want: Sequence[str], seed: int = 0
) -> Iterator[tuple[torch.Tensor, dict[str, dict[str, Any]]]]:
    """Ask with one draw per row, one block of rows after the other.

    Args:
        model: the model that is asked.
        rows: the rows.
        given: the conditioning set.
        want: the names that are wanted.
        seed: the seed of the draws.

    Yields:
        The row numbers of a block, and `Answer.want` for it.
    """
    for block in torch.arange(len(rows)).split(BLOCK):
        part = rows if len(block) == len(rows) else rows.take(block)
        yield block, model.query(part, given=given, want=want, draws=1, seed=seed, split="all", quantiles=()).want


def conditioning_set(program: Program, names: str | Sequence[str]) -> tuple[str, ...]:
    """Check a conditioning set.

    Args:
        program: the program.
        names: a sequence of names, or a text that joins them by "+".

    Returns:
        The names in the order of the program's modalities.

    Raises:
        UsageError: a name is unknown, or the program cannot answer from this set.
    """
    chosen = ordered_set(program, names)
    if reason := program.can_answer(chosen):
        raise UsageError(f"conditioning set {set_name(chosen)!r}: {reason}.")
    return chosen


def ordered_set(program: Program, names: str | Sequence[str]) -> tuple[str, ...]:
    """Read a conditioning set, which the program need not be able to answer from.

    Args:
        program: a program of the data.
        names: a sequence of names, or a text that joins them by "+".

    Returns:
        The names in the order of the program's modalities.

    Raises:
        UsageError: a name is unknown.
    """
    chosen = [part for part in names.split("+") if part] if isinstance(names, str) else list(names)
    known, chosen = [m.name for m in program.modalities], members(program.modalities, chosen)
    for name in chosen:
        if name not in known:
            raise UsageError(f"conditioning set {set_name(chosen)!r}: no modality {name!r}.{suggest(name, known)}")
    return tuple(name for name in known if name in chosen)
