"""Heavy tails: single numbers that outweigh all others, and logs whose mean a log-normal would put above all data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...modalities.modality import Modality
from .finding import Finding
from .registry import Examined, examination

SHARE = 0.5  # of the sum of squares about the mean that one number has to make up
FEWEST = 30  # rows
SAMPLED = 500  # rows that quartiles and the moments of logs are taken of


@examination("heavy-tails")
def heavy_tails(data: Examined) -> Iterator[Finding]:
    """Find columns of which one number makes up half of the variance, or whose log-normal mean is above the largest."""
    for m, rows in data.numbers():
        if len(m.shape) > 1 or len(rows) < FEWEST or not m.family.density:
            continue
        curve = m.scaling.curve
        sample = rows[:: max(1, len(rows) // SAMPLED)].astype(np.float64)
        bent = m.to_model_units(sample.reshape(-1, *m.shape)).reshape(sample.shape)
        ends = [m.to_model_units(end.astype(np.float64).reshape(m.shape)).reshape(-1) for end in data.ends(m)]
        bent.sort(0)
        low, middle, high = (bent[int(share * (len(bent) - 1))] for share in (0.25, 0.5, 0.75))
        far = np.maximum(ends[1] - middle, middle - ends[0])
        # A quarter of the rows lies beyond each quartile: the variance is an eighth of their squared distance or more.
        maybe = (high > low) & (far**2 > SHARE * len(rows) * (high - low) ** 2 / 8)  # alike but for a few: no tail
        heavy = np.array([place for place in np.flatnonzero(maybe) if _dominated(m, rows, int(place))], int)
        if len(heavy):
            where = data.columns(m, heavy.tolist())
            yield Finding(
                "heavy-tails", m.name,
                f"{where}: one number makes up more than half of the variance (up to {_largest(rows[:, heavy]):.4g}); "
                f"check it, or --as {m.name}=laplace" + (":transform=standardise" if not curve.affine else ""), True,
            )  # fmt: skip
        if not curve.affine:
            mean, variance = bent.mean(0).reshape(m.shape), bent.var(0).reshape(m.shape)
            expected = m.to_input_units(mean, variance)[0].reshape(-1)
            above = np.flatnonzero(expected > data.ends(m)[1])
            if len(above):
                where = data.columns(m, above.tolist())
                yield Finding(
                    "heavy-tails", m.name,
                    f"{where}: scored as ln(1 + x), whose log-normal has a mean above the largest number; "
                    f"--as {m.name}=normal:transform=standardise keeps means inside the data", True,
                )  # fmt: skip


def _dominated(m: Modality, rows: np.ndarray, place: int) -> bool:
    """Say whether one number makes up most of the variance of a column."""
    column = m.scaling.curve.bend(rows[:, place].astype(np.float64))
    squares = (column - column.mean()) ** 2
    return bool(squares.max() > SHARE * squares.sum() > 0)


def _largest(rows: np.ndarray) -> float:
    flat = rows.astype(np.float64).ravel()
    return float(flat[np.abs(flat - np.median(flat)).argmax()])
