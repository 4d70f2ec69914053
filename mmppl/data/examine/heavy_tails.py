"""Heavy tails: single numbers that outweigh all others, and logs whose mean a log-normal would put above all data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .finding import Finding
from .registry import Examined, examination

SHARE = 0.5  # of the sum of squares about the mean that one number has to make up
FEWEST = 30  # rows
SAMPLED = 1000  # rows that quartiles are taken of


@examination("heavy-tails")
def heavy_tails(data: Examined) -> Iterator[Finding]:
    """Find columns of which one number makes up half of the variance, or whose log-normal mean is above the largest."""
    for m, rows in data.numbers():
        if len(m.shape) > 1 or len(rows) < FEWEST or m.likelihood == "bernoulli":
            continue
        curve = m.scaling.curve
        bent = curve.bend(rows.astype(np.float64))
        mean, variance = bent.mean(0), bent.var(0)
        ends = np.maximum(bent.max(0) - mean, mean - bent.min(0))
        quarters = np.quantile(bent[:: max(1, len(bent) // SAMPLED)], (0.25, 0.75), axis=0)
        sparse = quarters[0] == quarters[1]  # rare values among others that are all alike, such as zeros, are no tail
        heavy = np.flatnonzero((ends**2 > SHARE * len(bent) * variance) & (variance > 0) & ~sparse)
        if len(heavy):
            where = data.columns(m, heavy.tolist())
            yield Finding(
                "heavy-tails", m.name,
                f"{where}: one number makes up more than half of the variance (up to {_largest(rows[:, heavy]):.4g}); "
                f"check it, or --as {m.name}=laplace" + (":transform=standardise" if not curve.affine else ""), True,
            )  # fmt: skip
        if not curve.affine:
            above = np.flatnonzero(curve.moments(mean, variance)[0] > rows.max(0))
            if len(above):
                where = data.columns(m, above.tolist())
                yield Finding(
                    "heavy-tails", m.name,
                    f"{where}: scored as ln(1 + x), whose log-normal has a mean above the largest number; "
                    f"--as {m.name}=normal:transform=standardise keeps means inside the data", True,
                )  # fmt: skip


def _largest(rows: np.ndarray) -> float:
    flat = rows.astype(np.float64).ravel()
    return float(flat[np.abs(flat - np.median(flat)).argmax()])
