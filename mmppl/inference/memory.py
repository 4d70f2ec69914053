"""How many rows and draws fit into memory at once: measured on one row, not guessed from shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import UsageError

MEMORY = 2_000_000_000  # bytes that a question may take, unless told otherwise
WORK = 256_000_000  # bytes that a chunk writes in all: enough to be busy, little enough to stay near the cache
LARGEST = 30_000_000  # bytes of one tensor: from 32 MiB on malloc maps memory anew each time, and every page faults
PLANNED = 7 / 8  # share of the memory that tensors may take: the rest is for what is none, and what malloc keeps back
TRIAL = (4, 8)  # draws of the two trials


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


def chunk(trial: Callable[[int], object], draws: int, held: int, memory: int) -> Chunk:
    """The chunk that keeps a question within `memory` bytes beside its answer.

    Args:
        trial: asks the question of one row, with that number of draws.
        draws: of each row.
        held: bytes per row and draw that stay until the last of the row's draws.
    Raises: UsageError: one row does not fit.
    """
    few, more = (_allocated(trial, number) for number in TRIAL)
    beyond = TRIAL[1] - TRIAL[0]
    per_draw = max(1, (sum(more) - sum(few)) // beyond)
    per_row = max(0, sum(few) - TRIAL[0] * per_draw)
    largest = max(1, *((m - f) // beyond for m, f in zip(more, few)))  # the same tensors in the same order
    least = per_row + per_draw + draws * held
    planned = int(PLANNED * memory)
    if least > planned:
        needed = in_words(math.ceil(least / PLANNED))
        raise UsageError(
            f"query: one row with {draws:,} draws takes {needed}, and memory is {in_words(memory)}: "
            "give it more memory, or take fewer draws."
        )
    work = min(WORK, planned - draws * held)
    rows = min(work // (per_row + per_draw * draws), LARGEST // (largest * draws), planned // max(1, 2 * held * draws))
    if rows:
        return Chunk(rows, draws)
    most = max(1, min((work - per_row) // per_draw, LARGEST // largest))
    return Chunk(1, -(-draws // -(-draws // most)))  # in chunks of equal size


def _allocated(trial: Callable[[int], object], draws: int) -> list[int]:
    with Allocated() as allocated:
        trial(draws)
    return allocated.sizes


def in_words(size: int) -> str:
    """Bytes as a person would say them, rounded up to two digits: 1.3 GB."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            tenths = -(-10 * size // unit)
            return f"{tenths / 10:.1f} {name}" if tenths < 100 else f"{-(-size // unit):,} {name}"
    return f"{size:,} bytes"
