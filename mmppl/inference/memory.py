"""How many rows and draws fit into memory at once: measured on one row where an estimate comes near the limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..base.text import size_in_words
from ..core.program import Program
from ..errors import UsageError

MEMORY = 2_000_000_000  # bytes that a question may take, unless told otherwise
WORK = 256_000_000  # bytes that a chunk writes in all: enough to be busy, little enough to stay near the cache
LARGEST = 30_000_000  # bytes of one tensor: from 32 MiB on malloc maps memory anew each time, and every page faults
PLANNED = 7 / 8  # share of the memory that tensors may take: the rest is for what is none, and what malloc keeps back
TRIAL = (4, 8)  # draws of the two trials
COPIES = 24  # of a modality's numbers: decoder output, moments, densities and draws, some of them in float64


class Allocated(TorchDispatchMode):
    """Inside, the bytes of every tensor that is made, whether it is freed or not: in all no less than the peak."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {t.untyped_storage().data_ptr() for t in _tensors([*args, *(kwargs or {}).values()])}
        for t in _tensors(result if isinstance(result, tuple | list) else [result]):
            if t.untyped_storage().data_ptr() not in known:  # not a view, nor in place
                self.sizes.append(t.untyped_storage().nbytes())
        return result


def _tensors(things: Iterable[Any]) -> Iterator[Tensor]:
    for thing in things:
        if isinstance(thing, Tensor):
            yield thing
        elif isinstance(thing, tuple | list):
            yield from _tensors(thing)


class Chunk(NamedTuple):
    """So many rows, with so many of their draws, are asked at once."""

    rows: int
    draws: int


class Estimate(NamedTuple):
    """Bytes that a question writes, as the shapes of its program let expect; for those of this library an upper bound.

    Attributes:
        fixed: whatever the rows.
        per_draw: of each draw of each row.
        largest: the share of one tensor in that.
    """

    fixed: int
    per_draw: int
    largest: int

    def near(self, rows: int, draws: int, held: int, memory: int) -> bool:
        """Whether all at once comes within half of a limit, so that only a trial can tell."""
        total = self.fixed + rows * draws * (self.per_draw + 2 * held)
        return total > min(WORK, memory) // 2 or rows * draws * self.largest > LARGEST


def estimate(program: Program) -> Estimate:
    """What a program's layers, modalities and subsets let expect of one draw of one row.

    Every layer counts, also those of modalities that are neither given nor wanted; a convolution, or another layer
    whose outputs have more positions than its weights say, counts as if it had one for each number of the largest
    modality; and each subset of what is encoded counts as wide as the widest layer. A program that calls one layer many
    times takes more.
    """
    number = torch.get_default_dtype().itemsize
    positions = max(m.size for m in program.modalities)
    widths = [1]
    for module in program.modules():
        plain = isinstance(module, nn.Linear | nn.LayerNorm)
        for p in module.parameters(recurse=False):
            width = max(p.shape[:2], default=1) if p.ndim > 2 else max(p.shape[:1], default=1)
            widths.append(width if plain or p.ndim < 2 else width * positions)
    parts = 2 ** len(program.encoded) * max(widths)
    sizes = [m.size + m.input_size + m.output_size for m in program.modalities]
    return Estimate(
        fixed=number * sum(p.numel() for p in program.parameters()),
        per_draw=number * (sum(widths) + parts + COPIES * sum(sizes)),
        largest=2 * number * max(parts, *sizes),
    )


def chunk(trial: Callable[[int], object], expected: Estimate, rows: int, draws: int, held: int, memory: int) -> Chunk:
    """The chunk that keeps a question within `memory` bytes beside its answer.

    Args:
        trial: asks the question of one row, with that number of draws; called only where `expected` is near a limit.
        expected: what the question probably takes.
        rows: of the question.
        draws: of each row.
        held: bytes per row and draw that stay until the last of the row's draws.
        memory: bytes.

    Raises:
        UsageError: one row does not fit.
    """
    planned = int(PLANNED * memory)
    if not expected.near(rows, draws, held, planned):
        return Chunk(rows, draws)
    few, more = (_allocated(trial, number) for number in TRIAL)
    beyond = TRIAL[1] - TRIAL[0]
    per_draw = max(1, (sum(more) - sum(few)) // beyond)
    per_row = max(0, sum(few) - TRIAL[0] * per_draw)
    largest = max(1, *((m - f) // beyond for m, f in zip(more, few)))  # the same tensors in the same order
    least = per_row + per_draw + draws * held
    if least > planned:
        needed = size_in_words(math.ceil(least / PLANNED))
        raise UsageError(
            f"query: one row with {draws:,} draws takes {needed}, and memory is {size_in_words(memory)}: "
            "give it more memory, or take fewer draws."
        )
    work = min(WORK, planned - draws * held)
    fit = min(work // (per_row + per_draw * draws), LARGEST // (largest * draws), planned // max(1, 2 * held * draws))
    if fit:
        return Chunk(fit, draws)
    most = max(1, min((work - per_row) // per_draw, LARGEST // largest))
    return Chunk(1, -(-draws // -(-draws // most)))  # in chunks of equal size


def _allocated(trial: Callable[[int], object], draws: int) -> list[int]:
    with Allocated() as allocated:
        trial(draws)
    return allocated.sizes
