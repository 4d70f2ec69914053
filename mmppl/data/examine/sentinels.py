"""Numbers that stand for "missing" in many files, such as −9, −999 or 1e20, and stand apart from the rest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding
from .registry import Examined, examination

NINES = [float("9" * digits) for digits in range(1, 7)]
# −9, −99, … of questionnaires and tables; 77, 88, 99, … of surveys; fillers of netCDF, ESRI, VTK and WMO files.
NEGATIVE = {*(-n for n in NINES), *(-float(d * k) for d in "78" for k in (1, 2, 3, 4)), -1.0, -32768.0, -(2.0**31)}
POSITIVE = {*NINES[1:], 77.0, 88.0, 777.0, 888.0, 7777.0, 8888.0, 32767.0, 65535.0, 2.0**31 - 1, 2.0**32 - 1}
FILLERS = (1e20, 1e30, 9.969209968386869e36, 1.7014117e38, np.finfo(np.float32).max)
REST = 5  # values that have to be left beside a sentinel, and of these different ones beside a number of no list
OFTEN = 3  # times that a number of no list has to occur
FAR = 10.0  # widths of the rest between the rest and a number of no list
LONG = 2**16  # of longer columns, the rest is looked at by a sample of rows


@examination("sentinels")
def sentinels(data: Examined) -> Iterator[Finding]:
    """Find columns whose smallest or largest number stands apart and looks like "missing".

    A number of the lists counts if the gap between it and the rest is wider than the rest, or if it is negative and
    occurs twice where all the rest is not negative. Any other number counts if it occurs `OFTEN`, is no value of a
    scale of few values, and lies `FAR` widths away.
    """
    for m, rows in data.numbers():
        if not len(rows):
            continue
        found: dict[float, list[int]] = {}
        for end, ends in zip(("min", "max"), data.ends(m)):
            for place in np.flatnonzero(_worth(ends, rows, end)):
                value = float(ends[place])
                if apart(rows[:, place], value):
                    found.setdefault(value, []).append(int(place))
        for value, places in found.items():
            cells = data.count(m, places, value)
            kept = rows[:, places]
            rest = kept[kept != value]
            where = data.columns(m, places)
            yield Finding(
                "sentinels", m.name,
                f"{where}: {value:.10g} in {cells:,} cell{'s' * (cells != 1)} stands apart from the rest "
                f"({rest.min():.6g} to {rest.max():.6g}) and is taken for a measurement; if it means missing: "
                f"--missing {m.name}={value:.10g}", True,
            )  # fmt: skip


def _worth(ends: np.ndarray, rows: np.ndarray, end: str) -> np.ndarray:
    """Say which columns have an extreme that is on a list, or far from the median of a few rows."""
    known = [*(NEGATIVE if end == "min" else POSITIVE)]
    found = np.isin(ends.astype(np.float64), known)
    found |= np.any([np.isclose(np.abs(ends.astype(np.float64)), f, rtol=1e-4) for f in FILLERS], 0)
    sample = rows[:: max(1, len(rows) // 64)].astype(np.float64)
    sample.sort(0)
    low, middle, high = (sample[int(share * (len(sample) - 1))] for share in (0.25, 0.5, 0.75))
    return found | (np.abs(ends - middle) > FAR * (high - low))


def apart(column: np.ndarray, value: float) -> bool:
    """Say whether the smallest or largest number of a column looks like "missing".

    Args:
        column: (n,) numbers.
        value: the smallest or the largest of them.

    Returns:
        True if it stands apart from the rest, as `sentinels` says.
    """
    rest = column[column != value].astype(np.float64)
    count = len(column) - len(rest)
    if len(rest) < REST:
        return False
    low, high = float(rest.min()), float(rest.max())
    gap, width = (low - value if value < low else value - high), high - low
    if any(abs(abs(value) / float(filler) - 1) < 1e-4 for filler in FILLERS) or abs(value) in (2.0**31, 2.0**31 - 1):
        return gap > width
    if value == -1:  # a scale may well go from −1 on
        return low >= 0 and high >= 20 and count > ((rest == 0) | (rest == 1)).sum() and _whole(rest)
    if value in NEGATIVE:
        return gap > width or (low >= 0 and count > 1)
    if value in POSITIVE:
        return gap > width and (count > 1 or value >= 999)
    return count >= OFTEN and gap > FAR * width and len(np.unique(rest[:LONG])) > REST


def _whole(rest: np.ndarray) -> bool:
    return bool((rest == np.rint(rest)).all())
