"""Zeros that stand for "missing": whole rows of them, and single ones far below all other values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...base.disk.maps import row_blocks, rows_where
from .finding import Finding
from .registry import Examined, examination

DENSE = 0.25  # share of its numbers that every other row has to have, for a row of zeros to stand apart
FIRST = 4  # columns that tell most rows from rows of zeros
LOW = 10.0  # where the other values of a column have to begin, if they are not all of one size
RATIO = 2.0  # the same for small values: the largest may be so many times the smallest
COLUMN = 20  # values other than 0 that a column has to have, and zeros at least 2
SAMPLED = 2**12  # numbers that are looked at where all would take long


@examination("zeros")
def zeros(data: Examined) -> Iterator[Finding]:
    """Find rows of zeros in a modality of which all other rows are dense, and zeros far from all positive values."""
    for m, rows in data.numbers():
        if len(m.shape) == 1 and m.size > 1:
            empty = np.zeros(len(rows), bool)
            maybe = np.flatnonzero((rows[:, :FIRST] == 0).all(1))
            empty[maybe] = (rows[maybe] == 0).all(1)
            count = int(empty.sum())
            least = min(_least(rows, ~empty), m.size) if count else 0
            if count < len(rows) and least >= max(2, DENSE * m.size):
                yield Finding(
                    "zeros", m.name,
                    f"{m.name}: {count:,} row{'s are' if count != 1 else ' is'} all 0, and every other row has at "
                    f"least {least:,} of {m.size:,} numbers; taken for measured. If they mean missing: "
                    f"--missing {m.name}=zero-rows", True,
                )  # fmt: skip
                rows = rows_where(rows, ~empty)
        if len(m.shape) < 2 and data.ends(m)[0].min() == 0:
            yield from _single(m.name, m.size, rows)


def _least(rows: np.ndarray, kept: np.ndarray) -> int:
    """The smallest count of numbers other than 0 in the kept rows."""
    parts = (np.count_nonzero(rows[some][kept[some]], axis=1) for some in row_blocks(rows))
    return min((int(part.min()) for part in parts if len(part)), default=rows.shape[1])


def _single(name: str, size: int, rows: np.ndarray) -> Iterator[Finding]:
    sample = rows.reshape(-1)[:: max(1, rows.size // SAMPLED)]
    positive = sample[sample > 0]
    if len(positive) < COLUMN or not _apart(float(positive.min()), float(np.quantile(positive, 0.99))):
        return
    filled = 0
    lows: list[float] = []
    for part in (rows[some] for some in row_blocks(rows)):
        above = part[part > 0]
        filled, lows = filled + int(np.count_nonzero(part)), [*lows, *([float(above.min())] if above.size else [])]
    share, low = 1 - filled / rows.size, min(lows)
    if share * rows.size >= 2 and _apart(low, float(np.quantile(positive, 0.99))) and len(np.unique(positive)) > 2:
        cells = " masks these cells" if size > 1 else ""
        what = f"if it means missing: --missing {name}=0{cells}"
        yield Finding(
            "zeros", name,
            f"{name}: 0 in {share:.1%} of the numbers, the others from {low:.3g} on; taken for measured, {what}", True,
        )  # fmt: skip


def _apart(low: float, high: float) -> bool:
    """Say whether zeros stand apart from values between two bounds, as counts or by their ratio."""
    return bool((low >= LOW and 2 * np.log1p(low) > np.log1p(high)) or (high < RATIO * low and low > 1e-6))
