"""One case of a benchmark: our call, its rivals, the least that the machine has to do for it, and the check before it
all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from .harness import figure, interleave, ratio


@dataclass(frozen=True)
class Case:
    """What is timed.

    Args:
        name: name of the rows of the table.
        shape: shape of the inputs, for the table.
        ours: the call that is timed.
        rivals: name → the same done otherwise.
        limit: does the unavoidable work and no more (moves the bytes, multiplies the matrices); None: not known.
        error: returns how far ours is from the truth and how far it may be; called before anything is timed.
        around: settings under which all of it runs.
    """

    name: str
    shape: str
    ours: Callable[[], object]
    rivals: Mapping[str, Callable[[], object]]
    limit: Callable[[], object] | None
    error: Callable[[], tuple[float, float]]
    around: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)


class Row(NamedTuple):
    """A line of the table: ours against one rival.

    Args:
        name: name of the case.
        shape: shape of the inputs.
        ms: median milliseconds of ours.
        ratio: the rival's time over ours, median over the rounds.
        over: the rival.
        limit_ratio: our time over the limit's; None where no limit is known.
        spread: interquartile range of `ratio` as a share of it.
    """

    name: str
    shape: str
    ms: float
    ratio: float
    over: str
    limit_ratio: float | None
    spread: float


class WrongResult(AssertionError):
    """The correctness check of a case failed, so there is no figure."""


def measure(case: Case, *, rounds: int = 7, seconds: float = 0.25) -> list[Row]:
    """Check a case, then time it.

    Args:
        case: the case.
        rounds: see `interleave`.
        seconds: see `interleave`.

    Returns:
        One row per rival.

    Raises:
        WrongResult: ours is further from the truth than it may be.
    """
    with case.around():
        error, allowed = case.error()
        if not error <= allowed:  # NaN is wrong, too
            raise WrongResult(f"{case.name} {case.shape}: off by {error:.1e}, allowed {allowed:.1e}: no figure.")
        finish = torch.cuda.synchronize if torch.cuda.is_initialized() else _nothing
        candidates = {"": case.ours, **case.rivals} | ({"limit": case.limit} if case.limit else {})
        times = {
            name: [r.wall for r in taken]
            for name, taken in interleave(candidates, rounds=rounds, seconds=seconds, finish=finish).items()
        }
    limit = ratio(times[""], times["limit"]).median if case.limit else None
    rows = []
    for rival in case.rivals:
        against = ratio(times[rival], times[""])
        rows.append(
            Row(case.name, case.shape, 1e3 * figure(times[""]).median, against.median, rival, limit, against.iqr)
        )
    return rows


def _nothing() -> None:
    return None


def apart(found: Any, truth: Any) -> float:
    """Compute the largest relative difference of norms over pairs of tensors, in float64.

    Args:
        found: tensors.
        truth: as many tensors, by whose norms the differences are divided.

    Returns:
        The largest of the ratios.
    """
    pairs = [(a.detach().double(), b.detach().double()) for a, b in zip(found, truth, strict=True)]
    return max(float((a - b).norm() / b.norm().clamp_min(1e-300)) for a, b in pairs)
