"""Fit a program on each fold's training rows, and evaluate it on the rows of the fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.loading import use_file
from ...core.program import Program
from ...evaluation.evaluate import evaluate
from ...evaluation.summary import summarise
from ..fit import fit
from .source import Source, check_settings


def evaluate_folds(
    program: type[Program] | str | Path,
    data: Any,
    *,
    folds: int = 5,
    out: str | Path | None = None,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
    conditioning_sets: Sequence[str | Sequence[str]] | None = None,
    draws: int = 32,
    evidence_draws: int = 128,
    log: Callable[[str], None] | None = None,
    root: str | Path | None = None,
    as_: Mapping[str, str] = {},
    hide: float = 0.0,
    hide_cells: float = 0.0,
    download: bool = False,
    missing: Mapping[str, Sequence[Any]] = {},
    target: str | Sequence[str] | None = None,
    strict: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Cross-validate a program: k fits, each evaluated on the rows that it did not see.

    All rows take part, whatever parts the data bring. Folds are stratified by the labels; rows of one `group` stay
    together; where there is a `time`, each fold is tested by what is older (`SplitRules.folds`). Scales and classes are
    learnt from the training rows of each fold. The division depends on the data alone.

    Args:
        program: a class, a file, or a name.
        data: what `mmppl.read` takes.
        folds: k.
        out: a folder, in which each fold's run is kept as `fold-1`, …; folds that are there already are not fitted
            again. None: nothing is kept.
        seed: of the fits, and of the draws that metrics need.
        metrics: see `mmppl.evaluate`, as are `conditioning_sets`, `draws` and `evidence_draws`.
        log: receives one line per fold, besides those of fits and evaluations.
        root: see `mmppl.read`, as are `as_`, `hide`, `hide_cells`, `download`, `missing`, `target` and `strict`.
        settings: further keyword arguments of `mmppl.fit`, such as `hyper`, `preset` and `epochs`.

    Returns:
        {"folds": k, "n": {conditioning set: rows in all folds}, "mean", "sd": nested like the metrics, sd with k − 1;
        "runs": what `evaluate` returned for each fold, "warnings"}.

    Raises:
        UsageError: a setting is unknown or wrong, or there are too few rows for so many folds.
        DataError: the data cannot be used.

    Source: Stone 1974, "Cross-validatory choice and assessment of statistical predictions". The sd over folds describes
    how the figures vary between them; folds share training rows, so that it is no standard error of their mean.

    Example:
        >>> import mmppl, numpy as np
        >>> arrays = {"x": np.random.default_rng(0).normal(size=(60, 3)), "label": np.arange(60) % 2}
        >>> small = dict(hyper={"hidden": 8, "layers": 1}, epochs=1, calibrate=False)
        >>> found = mmppl.evaluate_folds("mvae", arrays, folds=2, metrics=["error"], draws=2, **small)
        >>> len(found["runs"]), found["n"]["x"], sorted(found["mean"])[0]
        (2, 60, 'error.label')
    """
    check_settings("evaluate_folds", settings)
    inform = log or (lambda line: None)
    how: dict[str, Any] = dict(root=root, as_=as_, hide=hide, hide_seed=seed, download=download)
    how |= dict(missing=missing, target=target, strict=strict, hide_cells=hide_cells)
    for file in settings.get("use", ()):
        use_file(file)  # it may register the reader
    source, results = Source.in_folds(data, how, folds, inform), []
    for number, split in enumerate(source.splits, 1):
        dataset = source.part(number - 1)
        place = None if out is None else Path(out) / f"fold-{number}"
        kept = place is not None and (place / "run.json").exists()
        learnt, tested = (int((split == code).sum()) for code in (0, 2))
        where = "" if place is None else f", in {place}"
        inform(f"fold {number} of {folds}: {learnt:,} rows to learn from, {tested:,} to test{where}")
        run = fit(program, dataset, seed=seed, out=place, resume=kept, log=log, **settings)
        run.fitted_on = dataset  # with what was hidden, which metrics of hidden cells ask for
        found = evaluate(
            run, metrics=metrics, conditioning_sets=conditioning_sets, draws=draws, evidence_draws=evidence_draws,
            seed=seed, log=log,
        )  # fmt: skip
        results.append(found | {"run": f"fold-{number}" if place is None else str(place)})
    names = dict.fromkeys(name for one in results for name in one["n"])
    n = {name: sum(one["n"].get(name, 0) for one in results) for name in names}
    return {"folds": folds, "n": n} | summarise(results)
