"""Metrics as a table to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..base.text import columns, number, printable

SHARES = (
    "error", "balanced_accuracy", "coverage", "calibration_error", "probe", "precision", "coherence", "judge_accuracy",
    "evidence_distrusted", "a2", "a7", "cells_coverage", "cells_error",
)  # fmt: skip
ELSEWHERE = ("collapse", "calibration.", "correlation_each", "left_out")  # these have no row in the table


def metric_table(
    metrics: Mapping[str, Any],
    spread: Mapping[str, Any] | None = None,
    n: Mapping[str, int] | None = None,
    titles: Mapping[str, str] = {},
) -> str:
    """Format metrics as a table with one row per metric, and one column per conditioning set if there are several.

    Args:
        metrics: the metrics, as `evaluate` returns them.
        spread: standard deviations of the same shape, to be written after a "±".
        n: conditioning set → the number of rows that have it.
        titles: name of a metric → what stands in its place.

    Returns:
        The table, and below it what has no row in it.
    """
    shown = {name: value for name, value in metrics.items() if not name.startswith(ELSEWHERE)}
    named = dict.fromkeys(key for value in shown.values() if isinstance(value, Mapping) for key in value)
    asked = [key for key in n or () if key in named]
    sets = [*asked, *(key for key in named if key not in asked)]
    rows = [["given", *sets]] if sets else []
    if n and sets:
        rows.append(["rows", *(number(n[key]) if key in n else "" for key in sets)])
    for name, value in shown.items():
        by_set = value if isinstance(value, Mapping) else dict.fromkeys(sets[:1] or [""], value)
        around = (spread or {}).get(name)
        by_set_around = around if isinstance(around, Mapping) else dict.fromkeys(sets[:1] or [""], around)
        cells = (_cell(name, by_set.get(key), by_set_around.get(key)) for key in sets or [""])
        rows.append([titles.get(name, name), *cells])
    return "\n".join([columns(rows), *_below(metrics)])


def compared_table(groups: Sequence[Mapping[str, Any]]) -> str:
    """Format metrics of runs that are not alike: one row per metric and conditioning set, one column per group.

    Args:
        groups: as `side_by_side` returns them.

    Returns:
        The table; of a group of several runs mean ± standard deviation.
    """
    rows = [["", *(_heading(group) for group in groups)]]
    names = dict.fromkeys(name for group in groups for name in group["mean"] if not name.startswith(ELSEWHERE))
    for name in names:
        values = [group["mean"].get(name) for group in groups]
        spreads = [group["sd"].get(name) for group in groups]
        pairs = list(zip(values, spreads))
        if not any(isinstance(value, Mapping) for value in values):
            rows.append([name, *(_cell(name, *pair) for pair in pairs)])
            continue
        for key in dict.fromkeys(key for value in values if isinstance(value, Mapping) for key in value):
            cells = (_cell(name, *((part or {}).get(key) for part in pair)) for pair in pairs)
            rows.append([f"{name} given {key}", *cells])
    return columns(rows)


def lines_of(warnings: Sequence[str]) -> list[str]:
    """Format warnings as one block of lines; no block without any.

    Args:
        warnings: one line each.

    Returns:
        A list of at most one text.
    """
    return ["\n".join(map(printable, warnings))] if warnings else []


def _heading(group: Mapping[str, Any]) -> str:
    runs = group["runs"]
    return runs[0] if len(runs) == 1 else f"{runs[0]} and {len(runs) - 1} more"


def _cell(name: str, value: Any, spread: Any) -> str:
    if value is None:
        return ""
    share = name.startswith(SHARES)
    text = f"{value:.2%}" if share else number(float(value))
    if isinstance(spread, float):
        text += f" ± {spread:.2%}" if share else f" ± {spread:.2g}"
    return text


def _below(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    if collapse := metrics.get("collapse"):
        eps = collapse["eps"][1]
        of_each = collapse.get("alone", {}).items()
        alone = ", ".join(f"{printable(name)} alone {curve[1]:.0%}" for name, curve in of_each)
        lines.append(
            f"collapsed onto the prior (KL at most {eps:.2g} nats): {collapse['fraction'][1]:.0%} of the latent "
            f"dimensions{f' ({alone})' if alone else ''}"
        )
    if metrics.get("left_out"):
        lines.append(f"left out: {metrics['left_out']:g} rows that lack what the program conditions on")
    return [""] + lines if lines else []
