"""What a tuning has found: a table of trials, and the best settings as a preset file."""

from __future__ import annotations

import csv
import inspect
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...base.files import write, write_json
from ...core.hyperparameters import hyper_parameters
from ..settings import OF_A_PROGRAM, FitSettings, over
from .preset_file import write_preset
from .runner import Runner
from .trials import DEFAULT, ENDED, REASON, SECONDS, outcome, with_values

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

BEST, TABLE, SUMMARY = "best.toml", "trials.csv", "tune.json"  # files of the folder


def summary_of(runner: Runner, *, importance: bool) -> dict[str, Any]:
    """Collect what the trials have shown so far, ready for JSON.

    Args:
        runner: with the trials.
        importance: whether to say which settings matter, which takes a moment.

    Returns:
        See `mmppl.tune`.
    """
    request, objective, trials = runner.request, runner.objective, runner.trials
    table = [_row(runner, one) for one in trials]
    best = trials.best
    return {
        "program": runner.cls.__name__,
        "data": runner.whole.name,
        "study": None if request.folder is None else str(request.folder),
        "metric": objective.metric,
        "direction": objective.direction,
        "given": objective.asked_from,
        "held_out": {"rows": runner.held_out.rows, "fits": len(runner.held_out.datasets)},
        "search": {name: str(where) for name, where in runner.space.items()},
        "counts": {state: sum(row["state"] == state for row in table) for state in ENDED},
        "default": None if trials.default is None else _short(runner, trials.default),
        "best": None if best is None else _short(runner, best),
        "importance": trials.importances(request.seed) if importance else {},
        "preset": None if request.folder is None or best is None else str(request.folder / BEST),
        "trials": table,
    }


def write_result(folder: Path, runner: Runner, found: Mapping[str, Any]) -> None:
    """Write the files of a tuning.

    Args:
        folder: where to.
        runner: with the trials.
        found: what `summary_of` has collected.
    """
    write_json(folder / SUMMARY, found)
    text = io.StringIO()
    writer = csv.writer(text)
    columns = ["trial", "state", "value", SECONDS, *runner.space, REASON]
    writer.writerow(columns)
    for row in found["trials"]:
        flat = {**row, **row["settings"]}
        writer.writerow([flat.get(name) for name in columns])
    write(folder / TABLE, text.getvalue().encode())
    best, default = found["best"], found["default"]
    if best is None:
        return
    value = "" if default is None or default["value"] is None else f"; of the default settings {default['value']:.6g}"
    ended = sum(found["counts"].values())
    comments = [
        f"The best of {ended} trials of {found['program']} (mmppl tune): trial {best['trial']}.",
        f"{found['metric']} {best['value']:.6g} on {runner.held_out.told}, given {found['given']}{value}.",
        f"Data: {found['data']}, fingerprint {runner.whole.fingerprint()}.",
    ]
    write_preset(folder / BEST, best["hyper"], best["training"], comments)


def _short(runner: Runner, frozen: FrozenTrial) -> dict[str, Any]:
    values = runner.trials.values(frozen)
    settings = with_values(runner.request.base, values)
    return {
        "trial": frozen.number,
        "value": frozen.value if outcome(frozen) == "complete" else None,
        "searched": values or default_values(runner),
        "hyper": dict(settings.hyper),
        "training": dict(settings.training),
    }


def _row(runner: Runner, frozen: FrozenTrial) -> dict[str, Any]:
    attrs = frozen.user_attrs
    return {
        "trial": frozen.number,
        "state": outcome(frozen),
        "value": frozen.value if outcome(frozen) == "complete" else None,
        "default": bool(attrs.get(DEFAULT)),
        "settings": runner.trials.values(frozen),
        SECONDS: attrs.get(SECONDS),
        REASON: attrs.get(REASON),
    }


def default_values(runner: Runner) -> dict[str, Any]:
    """Name → the value that what is searched has without a search; None where a rule or nothing says it."""
    base = runner.request.base
    of_fit = over(runner.cls.training, base.training)
    known = hyper_parameters(runner.cls)
    found = {}
    for name in runner.space:
        if name not in OF_A_PROGRAM:
            default = known[name].default
            found[name] = base.hyper.get(name, None if default is inspect.Parameter.empty else default)
        else:
            found[name] = of_fit.get(name, getattr(FitSettings(), name))
    return found
