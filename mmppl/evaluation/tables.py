"""Metrics as a table to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base.text import columns, number, printable

SHARES = (
    "error", "share of", "baseline_error", "balanced_accuracy", "explained", "coverage", "calibration_error", "probe",
    "precision", "coherence", "judge_accuracy", "evidence_distrusted",
)  # fmt: skip


ELSEWHERE = ("collapse", "left_out", "nothing_seen")  # these have no row in the table


def metric_table(metrics: Mapping[str, Any], spread: Mapping[str, Any] | None = None) -> str:
    """Format metrics as a table with one row per metric, and one column per conditioning set if there are several.

    Args:
        metrics: the metrics, as `evaluate` returns them.
        spread: standard deviations of the same shape, to be written after a "±".

    Returns:
        The table, and below it what has no row in it.
    """
    shown = {name: value for name, value in metrics.items() if name not in ELSEWHERE}
    named = dict.fromkeys(key for value in shown.values() if isinstance(value, Mapping) for key in value)
    asked = [key for key in metrics.get("nothing_seen") or () if key in named]
    sets = [*asked, *(key for key in named if key not in asked)]
    rows = [["given", *sets]] if sets else []
    for name, value in shown.items():
        by_set = value if isinstance(value, Mapping) else dict.fromkeys(sets[:1] or [""], value)
        around = (spread or {}).get(name)
        by_set_around = around if isinstance(around, Mapping) else dict.fromkeys(sets[:1] or [""], around)
        rows.append([name, *(_cell(name, by_set.get(key), by_set_around.get(key)) for key in sets or [""])])
    return "\n".join([columns(rows), *_warnings(metrics)])


def _cell(name: str, value: Any, spread: Any) -> str:
    if value is None:
        return ""
    share = name.startswith(SHARES)
    text = f"{value:.2%}" if share else number(float(value))
    if isinstance(spread, float):
        text += f" ± {spread:.2%}" if share else f" ± {spread:.2g}"
    return text


def _warnings(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    if collapse := metrics.get("collapse"):
        eps, fraction = collapse["eps"][1], collapse["fraction"][1]
        lines.append(f"collapsed onto the prior (KL at most {eps:.2g} nats): {fraction:.0%} of the latent dimensions")
    if metrics.get("left_out"):
        lines.append(f"left out: {metrics['left_out']:g} rows that lack what the program conditions on")
    blind = {key: count for key, count in (metrics.get("nothing_seen") or {}).items() if count}
    if blind:
        counts = ", ".join(f"{printable(key)} {count:g}" for key, count in blind.items())
        lines.append(f"rows with none of what is given: {counts}")
    return [""] + lines if lines else []
