"""Means and standard deviations over runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


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
