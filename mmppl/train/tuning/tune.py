"""Search settings of a program on held-out rows."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ...base.parsing import names as names_in
from ...core.hyperparameters import check_hyper
from ...core.loading import load_program
from ...core.program import Program
from ...errors import FitError, LockedError, MMPPLError, UsageError, suggest
from ...runs.storage import locked
from ..fit import fit
from ..settings import OF_A_PROGRAM, over, preset_of, settings_for
from .processes import run_in_processes
from .result import default_values, summary_of, write_result
from .runner import Request, Runner, run_here
from .trial import Settings, reason_of
from .trials import FILE, with_values

OF_DATA = ("root", "as_", "hide", "hide_cells", "download", "missing", "target", "strict")
OURS = (
    "program", "data", "hyper", "preset", "out", "resume", "seed", "log", "on_step", "callbacks", "gradient_rule",
    "folds", "validation", *OF_DATA,
)  # fmt: skip
TEST = "test"  # the scores of the test rows, by the number of the trial, as the study keeps them


def tune(
    program: type[Program] | str | Path,
    data: Any = None,
    *,
    search: str | Sequence[str] | Mapping[str, Any],
    trials: int = 40,
    metric: str | None = None,
    direction: Literal["min", "max"] | None = None,
    conditioning_sets: Sequence[str | Sequence[str]] | None = None,
    folds: int | None = None,
    jobs: int = 1,
    timeout: float | None = None,
    test: bool = True,
    out: str | Path | None = None,
    hyper: Mapping[str, Any] = {},
    preset: str | Path | None = None,
    seed: int = 0,
    log: Callable[[Any], None] | None = None,
    root: str | Path | None = None,
    as_: Mapping[str, Any] = {},
    hide: float = 0.0,
    hide_cells: float = 0.0,
    download: bool = False,
    missing: Mapping[str, Sequence[Any]] = {},
    target: str | Sequence[str] | None = None,
    strict: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Search hyper-parameters and settings of a fit for the best answers about rows that no fit has seen.

    Each trial fits the training rows, as `fit` does, and answers about the validation rows, which its fit does not
    touch, neither for the number of steps nor for calibration; or so in turn for each of `folds`. Test rows take no
    part: once the trials are done, the best settings and the default ones are fitted on all other rows, and both are
    scored on the test rows. The first trial has the default settings, so that on the held-out rows the best is never
    worse.

    What is compared is a score of answers: held-out losses of settings that weigh their terms differently do not
    compare. It is the log loss of the (first) label of classes or tags, each row being answered from all that it has;
    without such a label the nats of the predictive density of the label, and without any label the mean of those of
    each modality given the others. The best of many trials looks better on the rows that chose it than it is: the
    score of the test rows is the one to tell.

    Args:
        program: a class, a file, or a name.
        data: what `mmppl.read` takes; default: the program's own recipe. Values that a recipe draws anew in each epoch
            stay those of the first here.
        search: what is searched: "latent_dim=8..64,omega=0..1,lr=1e-4..1e-2:log" or "kernel=paper|mixture", or
            several texts, or name → text or values; see `mmppl.train.tuning.search.parse_search`.
        trials: that are to have ended in all; those of an earlier call on the same folder count.
        metric: of `mmppl.evaluate` instead, such as "error" or "rmse.image".
        direction: "min" or "max", of a metric that does not say which values are better.
        conditioning_sets: what answers are from instead, such as ["image", "image+word"]: the mean over these sets, on
            the rows that have all of one.
        folds: k: all rows that are no test rows are held out in turn. 1: the validation rows are. Default: 5 below 200
            rows or without validation rows, unless the data bring validation rows, else 1.
        jobs: processes beside each other; more than one take a folder, and a program and data that are named. With one
            the result is reproducible.
        timeout: seconds after which no trial begins.
        test: whether the test rows are told at the end.
        out: a folder for the trials, their table and `best.toml`. With trials in it, the tuning goes on: what was
            killed is run again. None: nothing is kept.
        hyper: hyper-parameters of all trials.
        preset: of all trials.
        seed: of the search, the fits and the draws.
        log: receives a line per trial, and with one job a Progress after each step.
        root: see `mmppl.read`, as are `as_`, `hide`, `hide_cells`, `download`, `missing`, `target` and `strict`.
        settings: further keyword arguments of `mmppl.fit`, such as `steps`, `terms`, `device` and `use`.

    Returns:
        {"metric", "direction", "given", "held_out": {"rows", "fits": per trial}, "search", "counts": trials by how
        they ended, "default" and "best": {"trial", "value", "searched", "hyper", "training"}, "test": {"rows",
        "default", "best"} or None, "importance": name → share of the variance that it explains, "preset": the file,
        "trials": one dict each, with the reason of those that failed, "warnings", "program", "data", "study"}.

    Raises:
        UsageError: a setting, range or choice is wrong, the folder has trials of something else, or Optuna is missing.
        DataError: the data cannot be used.
        FitError: no trial has succeeded.
        LockedError: another tuning writes this folder.

    Source: Akiba et al. 2019, "Optuna", arXiv:1907.10902; trials are proposed by Bergstra et al. 2011 (TPE) and ended
    early by the median rule of Golovin et al. 2017, "Google Vizier", § 3.2.

    Example:
        >>> import mmppl
        >>> found = mmppl.tune("cmmd", search="omega=0..1,latent_dim=8..64:log", trials=12)  # doctest: +SKIP
        >>> run = mmppl.fit("cmmd", hyper=found["best"]["hyper"])  # doctest: +SKIP
    """
    known = [name for name in inspect.signature(fit).parameters if name not in OURS]
    for name in settings:
        if name not in known:
            raise UsageError(f"tune: no setting {name!r}; there are {', '.join(known)}.{suggest(name, known)}")
    inform = log or (lambda line: None)
    if trials < 1 or jobs < 1:
        raise UsageError(f"tune: trials {trials} and jobs {jobs}; take at least one of each.")
    how: dict[str, Any] = dict(root=root, as_=as_, hide=hide, hide_seed=seed, download=download)
    how |= dict(missing=missing, target=target, strict=strict, hide_cells=hide_cells)
    folder = None if out is None else Path(out)
    if jobs > 1 and (folder is None or isinstance(program, type) or not isinstance(data, str | Path | None)):
        raise UsageError(
            f"tune: jobs {jobs}: other processes take a folder for the trials, and the program and the data by their "
            "names; give out=FOLDER, and files or recipes."
        )
    cls = load_program(program)
    of_preset, training = preset_of(cls, preset)
    training = over(training, {k: v for k, v in settings.items() if k in OF_A_PROGRAM and v is not None})
    request = Request(
        program=program if jobs > 1 else cls,
        data=data,
        search=search,
        metric=metric,
        direction=direction,
        sets=None if conditioning_sets is None else [_names(given) for given in conditioning_sets],
        folds=folds,
        base=Settings(check_hyper(cls, {**of_preset, **hyper}), training),
        seed=seed,
        read=how,
        fit={name: value for name, value in settings.items() if name not in OF_A_PROGRAM},
        folder=folder,
        jobs=jobs,
    )
    runner = Runner(request)
    check_ends(runner, hyper, {k for k, v in settings.items() if v is not None})
    deadline = time.monotonic() + (math.inf if timeout is None else timeout)
    with _folder(folder):
        _search(runner, trials, deadline, inform)
        tested = _test(runner, inform) if test else None
        found = summary_of(runner, importance=True) | {"test": tested, "warnings": _warnings(runner, tested)}
        if folder is not None:
            write_result(folder, runner, found)
    return found


def check_ends(runner: Runner, hyper: Mapping[str, Any], given: set[str]) -> None:
    """Check that the program can be made with both ends of each range, and with each choice, before anything is fitted.

    Args:
        runner: with the program, the data and what is searched.
        hyper: hyper-parameters of the call.
        given: settings of a fit of the call.

    Raises:
        UsageError: it cannot, or a setting is searched and given.
    """
    cls, base = runner.cls, runner.request.base
    for name, where in runner.space.items():
        if name in hyper or name in given:
            raise UsageError(f"search {name}={where}: it is given as well; leave one of the two out.")
        for value in where.ends:
            settings = with_values(base, {name: value})
            try:
                checked, _ = settings_for(cls, settings.hyper, None, **settings.training)
                if name not in OF_A_PROGRAM:
                    runner.made(checked)
            except UsageError as error:
                raise UsageError(f"search {name}={where}: {error}") from None


def _search(runner: Runner, trials: int, deadline: float, inform: Callable[[Any], None]) -> None:
    """Run trials until so many have ended, and tell each."""
    request, known = runner.request, runner.trials
    known.bury()
    known.enqueue_default(default_values(runner))
    if before := known.ended:
        inform(f"{request.folder}: goes on after {before} {'trial' if before == 1 else 'trials'}.")
    held_out, objective = runner.held_out, runner.objective
    smaller = "smaller" if objective.direction == "min" else "larger"
    inform(f"{objective.metric} of {held_out.told}, given {objective.asked_from}: {smaller} is better.")
    if runner.whole.refresh is not None:
        inform(f"{runner.whole.name} draws training rows anew in each epoch; trials keep those of the first.")
    if request.jobs > 1:
        ended = run_in_processes(runner, trials, deadline)
    else:
        ended = run_here(runner, trials, deadline, inform)
    for number in ended:
        found = summary_of(runner, importance=False)
        row = next(row for row in found["trials"] if row["trial"] == number)
        inform(_told(found, row, trials))
        if request.folder is not None:
            write_result(request.folder, runner, found | {"test": None, "warnings": []})
    if known.best is None:
        reasons = {row["reason"] for row in summary_of(runner, importance=False)["trials"] if row["reason"]}
        why = f": {'; '.join(sorted(reasons))}" if reasons else ""
        raise FitError(f"tune: no trial has succeeded{why.rstrip('.')}. Search elsewhere, or take more --trials.")


def _told(found: Mapping[str, Any], row: Mapping[str, Any], trials: int) -> str:
    """The line about a trial that has ended."""
    ended, best = sum(found["counts"].values()), found["best"]
    what = ", ".join(f"{name} {_short(value)}" for name, value in row["settings"].items()) or "default settings"
    how = {"complete": f"{found['metric']} {_short(row['value'])}", "pruned": "pruned"}.get(row["state"])
    how = how or f"failed: {row['reason']}"
    so_far = f"; best {_short(best['value'])} (trial {best['trial']})" if best else ""
    return f"trial {row['trial']} ({ended} of {trials}): {what}: {how}, {row['seconds'] or 0:.1f} s{so_far}"


def _test(runner: Runner, inform: Callable[[Any], None]) -> dict[str, Any] | None:
    """Fit the default and the best settings on all rows but the test rows, and score them there, once each."""
    rows = len(runner.whole.rows("test"))
    request, trials = runner.request, runner.trials
    if not rows or trials.best is None:
        return None
    kept = dict(trials.study.user_attrs.get(TEST, {}))
    found: dict[str, Any] = {"rows": rows}
    for name, one in (("default", trials.default), ("best", trials.best)):
        if one is None:
            found[name] = None
            continue
        if str(one.number) not in kept:
            inform(f"fits the {name} settings on all rows that are no test rows, and asks about {rows:,} test rows")
            settings = with_values(request.base, trials.values(one))
            try:
                run = fit(
                    runner.cls, runner.source, hyper=settings.hyper, seed=request.seed, on_step=inform,
                    **settings.training, **request.fit, **{k: v for k, v in request.read.items() if k != "hide_seed"},
                )  # fmt: skip
                kept[str(one.number)] = runner.objective.score(run, seed=request.seed, root=request.read["root"])
            except MMPPLError as error:
                inform(f"no test of the {name} settings: {reason_of(error)}")
                found[name] = None
                continue
            trials.study.set_user_attr(TEST, kept)
        found[name] = kept[str(one.number)]
    return found


def _warnings(runner: Runner, tested: Mapping[str, Any] | None) -> list[str]:
    """A line where the test rows do not confirm what the held-out rows chose."""
    best, default = ((tested or {}).get(name) for name in ("best", "default"))
    if best is None or default is None or best == default or runner.objective.better(best, default):
        return []
    return ["On the test rows the best settings are no better than the default ones: what chose them may be chance."]


@contextmanager
def _folder(folder: Path | None) -> Iterator[None]:
    """Make the folder where there is none, and hold its lock."""
    if folder is None:
        yield
        return
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / FILE).is_file())):
        raise UsageError(f"{folder}: it is there, and has no trials that could go on. Choose another --study.")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            yield
    except LockedError:
        raise LockedError(f"{folder}: another tuning writes it. Wait for it, or choose another --study.") from None


def _names(given: str | Sequence[str]) -> str | list[str]:
    return given if isinstance(given, str) else names_in(given)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
