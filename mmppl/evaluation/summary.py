"""Means and standard deviations over runs, and whether runs in pairs differ by more than chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UsageError

FEWEST = 2  # pairs of runs


def summarise(results: Sequence[Mapping[str, Any]], warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Compute mean and standard deviation (with n − 1) over runs that are alike but for their seeds, of every number
    that all of them have.

    Args:
        results: what `evaluate` returned for each run.
        warnings: warnings for the reader.

    Returns:
        {"runs": the results, "mean": {...}, "sd": {...}, "warnings": [...]}, with mean and sd nested like the metrics;
        sd is None for a single run.
    """
    metrics = [result["metrics"] for result in results]
    mean, sd = _over_runs(metrics, np.mean), _over_runs(metrics, _sd)
    return {"runs": list(results), "mean": mean, "sd": sd, "warnings": list(warnings)}


def side_by_side(
    results: Sequence[Mapping[str, Any]],
    groups: Sequence[Sequence[int]],
    differences: Sequence[Mapping[str, str]],
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Put runs that are not alike beside each other. Only those of one group are averaged.

    Args:
        results: what `evaluate` returned for each run.
        groups: the numbers of the runs in each group (`mmppl.runs.compare.alike`).
        differences: for each run setting → value in words (`mmppl.runs.compare.differences`).
        warnings: warnings for the reader.

    Returns:
        {"runs": the results, "groups": [{"runs": their names, "differs": setting → value, "mean", "sd"}], "warnings"},
        with mean and sd as `summarise` has them, and none over all.
    """
    found = []
    for group in groups:
        summary = summarise([results[i] for i in group])
        names = [results[i]["run"] for i in group]
        statistics = {name: summary[name] for name in ("mean", "sd")}
        found.append({"runs": names, "differs": dict(differences[group[0]]), **statistics})
    return {"runs": list(results), "groups": found, "warnings": list(warnings)}


def paired_runs(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Compare a number of runs that belong together in pairs, by Wilcoxon's signed-rank test (two-sided).

    The test knows signs and ranks of the differences only: with n pairs, no p below 2/2ⁿ can occur, which is 0.0625 for
    five seeds and 0.0078 for eight. Pairs without a difference are left out. The p-value is exact, unless differences
    tie among more than 13 pairs, where SciPy takes the normal approximation.

    Args:
        first: one number for each seed.
        second: the numbers of the other runs, with the same seeds in the same order.

    Returns:
        "n", the number of pairs; "mean" and "sd" (with n − 1) of first − second; "p".

    Raises:
        UsageError: the lists differ in length, have less than two numbers, or one is not finite.

    Source: Wilcoxon 1945, "Individual comparisons by ranking methods", Biometrics Bulletin 1.

    Example:
        >>> with_penalty, without = [0.90, 0.88, 0.91, 0.89, 0.87], [0.93, 0.92, 0.92, 0.94, 0.89]
        >>> found = paired_runs(with_penalty, without)
        >>> round(found["mean"], 4), found["p"]
        (-0.03, 0.0625)
    """
    from scipy.stats import wilcoxon

    a, b = (np.asarray(x, np.float64) for x in (first, second))
    if a.ndim != 1 or a.shape != b.shape or len(a) < FEWEST or not np.isfinite([a, b]).all():
        raise UsageError(
            f"paired runs: {a.size} and {b.size} numbers; give one finite number for each seed, the same seeds in both."
        )
    difference = np.round(a - b, 12)  # so that 0.3 − 0.1 and 0.4 − 0.2 tie
    moved = difference[difference != 0]
    p = float(wilcoxon(moved).pvalue) if len(moved) else 1.0
    return {"n": len(a), "mean": float(difference.mean()), "sd": float(difference.std(ddof=1)), "p": p}


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _over_runs(values: Sequence[Any], statistic: Callable[[Sequence[float]], Any]) -> Any:
    """Apply `statistic` to the numbers at the same place in nested dicts and lists; keys that only some have are
    dropped."""
    first = values[0]
    if isinstance(first, Mapping):
        shared = [key for key in first if all(key in value for value in values)]
        return {key: _over_runs([value[key] for value in values], statistic) for key in shared}
    if isinstance(first, list):
        return [_over_runs(list(column), statistic) for column in zip(*values)]
    number = statistic(values)
    return None if number is None else float(number)
