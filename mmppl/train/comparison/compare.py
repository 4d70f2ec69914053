"""Compare programs and runs on the same rows of the same data, beside methods without a latent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from ...core.loading import use_file
from ...core.program import Program
from ...errors import FitError, UsageError
from ...evaluation.comparison.comparison import Comparison, notes_on
from ...evaluation.comparison.ranking import Part
from ...evaluation.comparison.row_losses import WAYS, affordable, losses_without_latent
from ...runs.run import Run
from ..folds.source import Source, check_settings
from .assemble import assemble, part_of
from .contender import Contender, folder_name
from .entered import Asked, Entered, enter, none_left, questions_for
from .one_fit import Outcome, Task, ask, fit_and_ask
from .processes import Failure, one_after_the_other, outcome_of, side_by_side

OF_DATA = ("as_", "hide", "hide_cells", "missing", "target", "strict")  # which a run has read its data by


def compare(
    contenders: Sequence[str | Path | type[Program] | Contender | Run],
    data: Any = None,
    *,
    folds: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    conditioning_sets: Sequence[str | Sequence[str]] | None = None,
    baselines: Sequence[Literal["global", "linear", "boosting"]] | None = None,
    rank_by: Literal["log_loss", "error"] = "log_loss",
    draws: int = 32,
    evidence_draws: int | None = None,
    out_dir: str | Path | None = None,
    jobs: int | None = None,
    trust: bool = False,
    use: Sequence[str | Path] = (),
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
) -> Comparison:
    """Put programs and runs side by side on the questions that several of them answer, and rank them.

    Every program is fitted on the same training rows (of each fold), and everybody answers about the same test rows,
    among them simple methods without a latent model: the training mean or most frequent class, ridge or logistic
    regression, and gradient boosting. Each question (X, given others) has its measure: log loss and error of classes,
    rmse of numbers and tags, the error of the median of survival times. For each there is the difference to the best
    with its standard error, which pairs rows (those of one `group` count as one), and fits of several seeds or folds;
    see `mmppl.evaluation.comparison.paired.paired_difference` for the formula.

    Fits of one program with other settings are other contenders. Runs are averaged only if they differ in nothing but
    their seeds.

    Args:
        contenders: programs (a name, a file, a class), with settings as text, "mopoe@preset:latent_dim=8,lr=1e-4", or
            as a `Contender`; or runs, as folders ("runs/a", with options of queries "runs/a:answers=mixture") or `Run`.
        data: what `mmppl.read` takes; None: the data of the first run, or else those of the first program.
        folds: fit each program on each of k folds, which are those of `mmppl.evaluate_folds`; None: on the data's own
            training rows. Runs have no folds.
        seeds: without folds, how many fits of each program, with the seeds `seed`, `seed` + 1, ….
        seed: of the fits, of the draws, and of what is hidden.
        conditioning_sets: what is given; None: what each program is evaluated with by default.
        baselines: which methods without a latent there are; None: all, boosting only where it takes seconds.
        rank_by: which of the two measures of a class decides its ranks.
        draws: latent draws per row.
        evidence_draws: compare ln p of all modalities, too, with so many draws (a lower bound on average; of different
            models, a difference of two lower bounds is none); None: do not.
        out_dir: a folder, in which the run of each fit is kept. Fits that are there are not done again if program,
            settings and data are the same (else they are refused), and those that were killed go on.
        jobs: how many processes fit at a time, each fit in one of its own; None: all in this process. Programs and data
            then have to be names or files, and a script has to start by `if __name__ == "__main__"`.
        trust: execute RUN/program.py of runs whose program is not installed.
        use: files of the user's own that register likelihoods, readers, recipes or metrics.
        log: receives one line per fit, and a `Progress` after each step in this process.
        root: see `mmppl.read`, as are `as_`, `hide`, `hide_cells`, `download`, `missing`, `target` and `strict`.
        settings: further keyword arguments of `mmppl.fit` for all programs, such as `epochs` (which, as `steps`, is
            not for programs that are fitted in closed form).

    Returns:
        The comparison, which `print` shows as tables and `write` keeps.

    Raises:
        UsageError: a name, setting or run is wrong, or a contender answers none of the questions of the others.
        DataError: the data cannot be used, or a run was fitted on others.
        FitError: no contender is left. As long as there is one, those that fail are listed in `failed`.

    Example:
        >>> import mmppl, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(60, 3))
        >>> arrays = {"x": x, "y": x[:, :2] + rng.normal(size=(60, 2))}
        >>> small = dict(epochs=1, calibrate=False)
        >>> found = mmppl.compare(["mvae:hidden=4", "mvae:hidden=8"], arrays, conditioning_sets=["x"], **small)
        >>> [one.measure.title for one in found.answered], found.answered[0].n
        (['rmse'], 12)
        >>> [entrant.name for entrant in found.entrants][:3]
        ['mvae:hidden=4', 'mvae:hidden=8', 'mean or majority']
    """
    check_settings("compare", settings)
    _check(folds, seeds, jobs, baselines)
    inform = log or (lambda line: None)
    for file in use:
        use_file(file)
    entered = enter(contenders, trust=trust, use=use)
    how: dict[str, Any] = dict(root=root, as_=as_, hide=hide, hide_seed=seed, download=download)
    how |= dict(missing=missing, target=target, strict=strict, hide_cells=hide_cells)
    source = _source(entered, data, how, folds, inform)
    if jobs is not None and entered.programs and not (isinstance(source.data, str | Path) and entered.are_files):
        raise UsageError("compare: jobs: each process reads for itself; give data and programs as names or files.")
    failed: dict[str, str] = {}
    asked = questions_for(entered, source, conditioning_sets, failed, evidence=evidence_draws is not None)
    effort = dict(draws=draws, evidence_draws=evidence_draws or 0)
    numbers = tuple(range(seed, seed + (1 if folds else seeds)))
    tasks = [
        Task(
            contender, part, one, asked.of(name), _place(out_dir, name, part, one, folds),
            contender.settings(settings, fixed_length=name in asked.fixed_length), use=tuple(use), **effort,
        )
        for part in range(folds or 1)
        for name, contender in entered.programs.items()
        if name not in failed
        for one in numbers
    ]  # fmt: skip
    found = _asked_runs(entered, source, asked, effort, failed) | _fitted(tasks, source, folds, jobs, failed, log)
    if not found:
        raise FitError(none_left(failed))
    ways = affordable(source.part(0), asked.questions, baselines, inform)
    anchors, parts = _without_latent(ways, source, asked, folds or 1, seed, inform)
    ordered = {name: found[name] for name in entered.names if name in found}
    entrants, answered = assemble(ordered, entered, anchors, asked.questions, parts, rank_by)
    return Comparison(
        data=source.part(0).name,
        tested=sum(part.tested for part in parts),
        folds=folds,
        seeds=numbers,
        entrants=entrants,
        answered=answered,
        failed=failed,
        notes=notes_on(answered, folds, len(numbers)),
    )


def _asked_runs(
    entered: Entered, source: Source, asked: Asked, effort: Mapping[str, int], failed: dict[str, str]
) -> dict[str, list[list[Outcome]]]:
    """Name → in one part the outcomes of runs that were fitted before; those that fail are added to `failed`."""
    found = {}
    for name, runs in entered.runs.items():
        outcomes = [outcome_of(partial(ask, run, source, asked.of(name), **effort)) for run in runs]
        failures = [str(outcome) for outcome in outcomes if isinstance(outcome, Failure)]
        if failures:
            failed[name] = failures[0]
        else:
            found[name] = [outcomes]
    return found


def _fitted(
    tasks: Sequence[Task],
    source: Source,
    folds: int | None,
    jobs: int | None,
    failed: dict[str, str],
    log: Callable[[Any], None] | None,
) -> dict[str, list[list[Outcome]]]:
    """Name → for each part the outcomes of its fits, without those that failed, which are added to `failed`."""
    found: dict[str, list[list[Outcome]]] = {}
    seeds = len({task.seed for task in tasks})

    def wanted(number: int) -> bool:
        return tasks[number].contender.name not in failed  # of one that failed, no further fold or seed is fitted

    def heard(event: Any) -> None:
        if log is not None and not isinstance(event, str):  # what a fit says of itself would be said for each fold
            log(event)

    def work() -> Iterator[tuple[int, Any]]:
        if jobs is None:
            return one_after_the_other([partial(fit_and_ask, task, source, heard) for task in tasks], wanted)
        return side_by_side([partial(fit_and_ask, task, source) for task in tasks], wanted, jobs)

    for done, (number, outcome) in enumerate(work(), 1):
        task, name = tasks[number], tasks[number].contender.name
        where = f", fold {task.part + 1} of {folds}" if folds else f", seed {task.seed}" if seeds > 1 else ""
        if isinstance(outcome, Failure):
            failed[name] = f"{where[2:]}: {outcome}" if where else str(outcome)
        else:
            found.setdefault(name, [[] for _ in range(folds or 1)])[task.part].append(outcome)
        if log is not None:
            how = f"failed: {outcome}" if isinstance(outcome, Failure) else f"fitted in {outcome.seconds:.1f} s"
            log(f"{name}{where}: {how} ({done} of {len(tasks)} fits done)")
    return {name: parts for name, parts in found.items() if name not in failed}


def _without_latent(
    ways: Sequence[str], source: Source, asked: Asked, parts: int, seed: int, inform: Callable[[str], None]
) -> tuple[dict[str, list[Outcome]], list[Part]]:
    """Method → what it does in each part; and the parts."""
    found: dict[str, list[Outcome]] = {WAYS[way]: [] for way in ways}
    rows = []
    for part in range(parts):
        dataset = source.part(part)
        rows.append(part_of(dataset))
        for way in ways:
            began = perf_counter()
            measured = losses_without_latent(way, dataset, asked.questions, seed=seed)
            spent = perf_counter() - began
            inform(f"{WAYS[way]}{f', fold {part + 1} of {parts}' if parts > 1 else ''}: {spent:.1f} s")
            found[WAYS[way]].append(Outcome(measured, way, spent))
    return found, rows


def _check(folds: int | None, seeds: int, jobs: int | None, baselines: Sequence[str] | None) -> None:
    if folds is not None and seeds != 1:
        raise UsageError(f"compare: folds {folds} and seeds {seeds}: each fold has one fit; leave one of them out.")
    for name, number in (("seeds", seeds), ("jobs", jobs)):
        if number is not None and number < 1:
            raise UsageError(f"compare: {name} {number} is not positive.")
    for way in baselines or ():
        if way not in WAYS:
            raise UsageError(f"compare: no baseline {way!r}; there are {', '.join(WAYS)}.")


def _source(
    entered: Entered, data: Any, how: Mapping[str, Any], folds: int | None, inform: Callable[[str], None]
) -> Source:
    """The data, in folds or as they are."""
    if data is None:
        run = next((run for runs in entered.runs.values() for run in runs), None)
        if run is not None:
            said = next((name for name in OF_DATA if how.get(name)), None)
            if said is not None:
                raise UsageError(
                    f"compare: {said.rstrip('_')} says how data are read, and those of {run.name} are taken as it read "
                    "them; name --data, or leave it out."
                )
            data, how = run.data(how["root"]), {}
        else:
            data = next((cls.default_data for cls in entered.classes.values() if cls.default_data), None)
    if data is None:
        raise UsageError("compare: name the data, --data FILE.")
    if folds is None:
        return Source(data, how)
    if entered.runs:
        raise UsageError(
            f"compare: {next(iter(entered.runs))} is a run, which was fitted on one split and cannot be tested on "
            "folds; name its program, or leave --folds out."
        )
    return Source.in_folds(data, how, folds, inform)


def _place(folder: str | Path | None, name: str, part: int, seed: int, folds: int | None) -> Path | None:
    if folder is None:
        return None
    return Path(folder) / folder_name(name) / (f"fold-{part + 1}" if folds else f"seed-{seed}")
