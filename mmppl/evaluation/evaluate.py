"""How well a fitted model answers from each conditioning set: every registered metric, over the rows of one part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Literal

import numpy as np

from ..core.program import Program
from ..core.roles import class_label
from ..data.dataset import Dataset
from ..data.examine.report import refuse_unseen
from ..errors import UsageError, suggest
from ..inference.fitted import FittedModel
from ..modalities.kinds import kind
from ..modalities.modality import Modality
from .anchors import seconds
from .conditioning import (
    answerable_rows,
    conditioning_set,
    default_conditioning_sets,
    has_all,
    set_name,
    with_all,
)
from .findings import findings, losses
from .registry import METRICS, Metric, TargetMetric
from .study import Study, target_of

BOOSTING = 20.0  # seconds that boosted anchors may take by default, as estimated from the sizes


def evaluate(
    run: FittedModel,
    data: Any = None,
    *,
    split: Literal["train", "valid", "test", "all"] = "test",
    metrics: Sequence[str] | None = None,
    conditioning_sets: Sequence[str | Sequence[str]] | None = None,
    draws: int = 32,
    evidence_draws: int = 128,
    seed: int = 0,
    root: Any = None,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Compute the metrics of a model on one part of the data, for each conditioning set.

    Answers from a conditioning set are scored on the rows that have all of it, and `n` says how many they are: a row
    that lacks a part of it would tell how good the answer is without that part. Rows that lack what the program
    conditions on are left out of everything, and counted in `left_out`. A metric skips rows whose true value is
    missing, and is absent if no row remains.

    For X a class: error.X; balanced_accuracy.X; log_loss.X in nats; calibration_error.X; calibration.X, a reliability
    curve (see `scores.reliability`). For a sequence of classes: error.X per position, and error_whole.X.

    If the classes have an order, also rank_error.X, the mean distance of the median class from the true one in ranks.
    For tags (a label of probabilities), over all entries: error.X, log_loss.X, calibration_error.X, calibration.X and
    rmse.X; over columns that hold both yes and no: auc.X, average_precision.X and f1_macro.X; auc_micro.X,
    average_precision_micro.X and f1_micro.X of all entries together. (The mean of average precisions is called mAP.)

    For a survival time: concordance.X, Harrell's C of the predictive mean; time_error.X, the mean absolute error of the
    median, of censored times what is known of it (see `survival.scores`).

    For numbers, in input units, over all entries: rmse.X of the predictive mean; r2.X, R² against the training mean;
    coverage50.X and coverage90.X, the shares of entries inside the central intervals of the predictive draws (those of
    a Bernoulli are 0 or 1, so nearly every grey value is covered); width90.X, the mean width of the latter;
    interval_score90.X, its interval score (Gneiting & Raftery 2007, eq. 43; lower is better); calibration.X, the share
    of entries below the quantile of each level.

    For a label L that is one number: mae.L, the mean absolute error, and corr.L, Pearson's correlation, of its point
    prediction (the median for a Laplace, else the mean). If its values are sentiment from −3 to 3, or if they are
    named: a7.L, the share of right whole numbers after clipping and rounding; a2.L, of right signs, where 0 is
    positive, and a2_nonzero.L, the same without the rows whose true value is 0; f1.L and f1_nonzero.L (see
    `metrics.sentiment`).

    Beside error, log_loss, rmse, interval_score90, mae, corr, a2 and a7 stand anchors without a latent model, named
    like the metric and computed for the same rows from the same given modalities (see `anchors.predict`):
    error_global.X, the most frequent class or the training mean; error_linear.X, logistic or ridge regression on
    imputed features and mask features; error_boosting.X, histogram gradient boosting, of classes and of at most 20
    numbers. rmse_class.X is the training mean of the true class, which no answer knows. Without `metrics`, boosting is
    left out, and a message says so, where it is estimated to take more than `BOOSTING` seconds in all; naming it
    computes it.

    Each metric is {conditioning set: number or curve}.

    collapse is {"eps": nats, "fraction": share of latent dimensions with KL(q ‖ prior) ≤ eps, "alone": {X: the same
    given X alone, over the rows that have X}}, where q is the answer given everything, and the prior the answer given
    nothing. The KL is that of Gaussians with their means and variances; for a mixture it says nothing if these equal
    the prior's although the components do not. For a program with conditions, the prior is the answer given them alone,
    and there are three more curves, over the rows that have more than the conditions: "prior_q" of KL(prior ‖ q),
    "prior_standard" of KL(prior ‖ N(0, I)), "q_standard" of KL(q ‖ N(0, I)). It is absent if no modality is generated.

    For a label L, from the means of z given each conditioning set (see `latent`): probe500.L, the accuracy of logistic
    regression on 500 train rows drawn with replacement (Sutter et al. 2021, "Generalized multimodal ELBO"); probe.L on
    all train rows, standardised (a seeded sample of 10,000 if there are more); precision1.L, precision5.L,
    precision10.L and precision50.L, the share of a row's nearest other rows that are of its class;
    precision10_apart.L and precision50_apart.L, the same among rows of another `recording`, where the data have that
    annotation; nmi.L of k-means clusters with the classes. On request, mlp.L, the accuracy of two layers of 50 ReLUs,
    and mlp_noisy_X.L, that on the rows whose X the annotation `noise_X` calls noise.

    For a program that weighs its modalities: importance.X, the mean importance of X where a row has it; with the
    annotation `noise_X`, how well a low importance finds noise: importance_auc.X, and at the threshold ½
    importance_f1.X, importance_precision.X, importance_recall.X and importance_f1_both.X, the mean of both kinds' F1.

    On request, for a generated modality X and the first label (see `coherence`): coherence.X, for each conditioning set
    without X the share of generated values whose class, predicted by a classifier that was trained on the original X of
    the train rows and kept in the cache folder, is that of the row; coherence_joint, under "nothing", the share of
    draws from the prior whose modalities all get the same class; judge_accuracy.X, the accuracy of that classifier on
    the rows' own values, one number.

    Also on request: drop_mae.L, drop_corr.L and drop_a2.L of a label that is one number, and drop_accuracy.L and
    drop_balanced_accuracy.L of a class, the ratio of that score from each conditioning set to that from all of them
    together, on the rows that have everything.

    Also on request, in nats per row and input units (see `likelihood`): nll.X of the decoder from every conditioning
    set, including those with X, and its anchors nll_global.X, nll_class.X and, for grey values, nll_floor.X;
    predictive_nats.X, −ln of the predictive density (the mean of p(x | z) over the draws) from every set without X, on
    average an upper bound that more draws tighten; evidence, ln p(the other modalities | conditioning set), under
    "nothing" that of all modalities, on at most 1,000 rows, with evidence_se and evidence_distrusted. Such an estimate
    is a lower bound on average, and a difference of two of them, as every conditional evidence is, is no bound.

    Of data read with `hide_cells`, of the hidden cells of a modality X of numbers, answered from all that is left of
    their rows (see `metrics.cells`): cells_rmse.X beside cells_rmse_global.X (training means) and, where that takes
    seconds, cells_rmse_imputer.X (chained ridge regressions), cells_r2.X, cells_nats.X per cell, and
    cells_coverage50.X, 80, 90 and 95; of classes cells_error.X and cells_nats.X.

    `warnings` says in a line each what the numbers show (see `findings`): answers that are no better than the mean,
    modalities that make an answer worse, and pairs that no training row has together.

    Args:
        run: the model, such as a `Run`.
        data: anything that `mmppl.read` takes; None takes the data of the fit. Anchors learn from its train rows, or
            from those of the fit if it has none.
        split: the part of the data.
        metrics: beginnings of names ("error", "rmse.noisy"); nothing else is computed. None computes all except those
            on request, which may take minutes; "all" computes everything.
        conditioning_sets: such as ["image", "image+word"]; None takes `default_conditioning_sets`.
        draws: the number of latent draws per row (probes use the mean of z; coherence and nll use one draw).
        evidence_draws: the number of latent draws per row for the evidence.
        seed: the seed of all draws.
        root: the folder with the files that a recipe needs.
        log: receives one line per conditioning set.

    Returns:
        {"run", "split", "rows": the number of rows, "n": {conditioning set: the rows that have it}, "metrics",
        "warnings"}, and "set" if the answers depend on other options than those of the fit (`Run.with_options`).

    Raises:
        UsageError: a metric, modality or part is unknown, the program cannot answer from a conditioning set, or the
            seed is outside 0 to 2³² − 1.
        DataError: there is no row to ask about.

    Example:
        >>> import mmppl
        >>> data = mmppl.read("digits-two-view")
        >>> program = mmppl.load_program("mvae")(data.modalities, latent_dim=2, hidden=8)
        >>> model = mmppl.FittedModel(program, data=data)
        >>> found = mmppl.evaluate(model, metrics=["rmse.noisy"], conditioning_sets=["rotated"], draws=2)
        >>> found["n"], list(found["metrics"])
        ({'rotated': 359}, ['rmse.noisy', 'left_out'])
    """
    found, _ = measure(
        run, data, split=split, metrics=metrics, conditioning_sets=conditioning_sets, draws=draws,
        evidence_draws=evidence_draws, seed=seed, root=root, log=log,
    )  # fmt: skip
    return found


def measure(
    run: FittedModel,
    data: Any = None,
    *,
    split: Literal["train", "valid", "test", "all"] = "test",
    metrics: Sequence[str] | None = None,
    conditioning_sets: Sequence[str | Sequence[str]] | None = None,
    draws: int = 32,
    evidence_draws: int = 128,
    seed: int = 0,
    root: Any = None,
    log: Callable[[str], None] | None = None,
) -> tuple[dict[str, Any], Study]:
    """Evaluate a model, and keep what the metrics were computed from.

    Args:
        run: see `evaluate`, as are all others.

    Returns:
        What `evaluate` returns, and the study, with the losses of single rows.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"evaluate: seed {seed}; scikit-learn takes whole numbers from 0 to {2**32 - 1}.")
    program, log = run.program, log or (lambda line: None)
    if conditioning_sets is None:
        sets = default_conditioning_sets(program)
    else:
        sets = [conditioning_set(program, names) for names in conditioning_sets]
    wanted = _wanted(program, metrics)
    dataset = run.dataset(data, root=root)
    refuse_unseen(dataset.findings, [m.name for m in run.program.modalities])
    for warning in run.warnings(dataset):
        log(warning)
    test, left_out = answerable_rows(program, dataset, split)
    asked = len(dataset.rows(split)) - left_out
    sampled = [f"{len(test):,} of {asked:,} {split} rows, evenly spaced, are evaluated: the data are kept on disk"]
    sampled *= len(test) < asked
    for line in sampled:
        log(line)
    study = Study(run, dataset, test, sets, draws, evidence_draws, seed, data is None, root, log)
    if metrics is None:
        unusual = _unusual(program, dataset)
        wanted = [name for name in wanted if name not in unusual]
    if metrics is None and (needed := _boosting_seconds(study)) > BOOSTING:
        log(f"no boosting beside the answers, for it would take about {needed:.0f} s (--metric error_boosting)")
        wanted = [name for name in wanted if "_boosting." not in name]
    n = {set_name(given): int(has_all(test, given).sum()) for given in sets}
    if lacking := [name for name, rows in n.items() if not rows]:
        log(f"no {split} row has all of {', '.join(lacking)}")
    found = _of_targets(study, wanted)
    for metric in _families():
        if own := [name for name in metric.names(program) if name in wanted]:
            found |= metric.compute(study, own)
    chosen = {name: found[name] for name in wanted if name in found}
    told = {
        "run": run.name,
        **({"set": run.options} if run.options else {}),
        "split": split,
        "rows": len(test),
        "n": n,
        "metrics": chosen | {"left_out": left_out},
        "warnings": [*sampled, *findings(study, chosen)],
    }
    return told, study


def metric_names(program: Program) -> list[str]:
    """List every metric that a program has: those of each name that it answers about, then the others.

    Args:
        program: the program.

    Returns:
        The names.
    """
    of_targets = [f"{metric.name}.{m.name}" for m in _targets(program) for metric in _target_metrics(program, m)]
    return [*of_targets, *(name for metric in _families() for name in metric.names(program))]


def _of_targets(study: Study, wanted: Sequence[str]) -> dict[str, Any]:
    """Compute {metric.X: {conditioning set: number or curve}} for everything that the program answers about."""
    program = study.program
    found: dict[str, dict[str, Any]] = {}
    for given in study.sets:
        chosen = {
            m.name: [metric for metric in _target_metrics(program, m) if f"{metric.name}.{m.name}" in wanted]
            for m in _targets(program)
            if m.name not in given
        }
        rows = with_all(study.test, given)
        asked = [name for name, metrics in chosen.items() if any(metric.asks for metric in metrics)]
        answers: dict[str, dict[str, np.ndarray]] = {}
        if asked and len(rows):
            study.log(f"{', '.join(asked)} given {set_name(given)}: {len(rows):,} rows")
            quantiles = sorted({q for name in asked for metric in chosen[name] for q in metric.quantiles})
            began = perf_counter()
            answers = study.model.query(
                rows, given=given, want=asked, draws=study.draws, seed=study.seed, split="all", quantiles=quantiles
            ).want
            study.seconds[tuple(given)] = (perf_counter() - began) / len(rows)
        for name, metrics in chosen.items():
            target = target_of(study, rows, name, given, answers.get(name, {})) if metrics else None
            if target is None:
                continue
            for metric in metrics:
                score = metric.score(target)
                if isinstance(score, dict) or np.isfinite(score):
                    found.setdefault(f"{metric.name}.{name}", {})[set_name(given)] = score
            m, answer = target.modality, target.answer
            if answer and (kind(m) != "survival" or "q50" in answer):
                at = (has_all(study.test, given) & study.test.observed[name]).nonzero().squeeze(-1).numpy()
                study.losses[name, tuple(given)] = losses(target, at)
    return found


def _boosting_seconds(study: Study) -> float:
    """Estimate how long the boosted anchors of all conditioning sets take."""
    if study.train is None:
        return 0.0
    n = len(study.train)
    return sum(
        seconds("boosting", n, [study.program.modality(name) for name in given], m)
        for given in study.sets
        for m in _targets(study.program)
        if m.name not in given
    )


def _targets(program: Program) -> list[Modality]:
    return [program.modality(name) for name in program.targets()]


def _target_metrics(program: Program, m: Modality) -> list[TargetMetric]:
    """List the metrics of one modality."""
    every = [metric for metric in METRICS.values() if isinstance(metric, TargetMetric)]
    labelled = class_label(program) is not None
    return [metric for metric in every if metric.is_of(m) and (labelled or not metric.needs_label)]


def _unusual(program: Program, dataset: Dataset) -> set[str]:
    """Find the metrics that data like these have only if they are named."""
    found = ((metric, m) for m in _targets(program) for metric in _target_metrics(program, m))
    return {f"{metric.name}.{m.name}" for metric, m in found if metric.usual and not metric.usual(dataset, m)}


def _families() -> list[Metric]:
    return [metric for metric in METRICS.values() if not isinstance(metric, TargetMetric)]


def _wanted(program: Program, metrics: Sequence[str] | None) -> list[str]:
    """Select the known names that begin with one of `metrics`; None selects all except those on request.

    What a classifier finds is never reported without the accuracy of that classifier, and what dropped modalities leave
    of a score never without the errors themselves.
    """
    known = metric_names(program)
    if metrics is None:
        on_request = {name for metric in _families() if metric.on_request for name in metric.names(program)}
        return [name for name in known if name not in on_request]
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    if "all" in metrics:
        return known
    for beginning in metrics:
        if not beginning or not any(name.startswith(beginning) for name in known):
            near = suggest(beginning, [*known, *(name.partition(".")[0] for name in known)])
            raise UsageError(f"no metric {beginning!r}; there are {', '.join(known)}.{near}")
    chosen = {name for name in known if name.startswith(tuple(metrics))}
    measured = known if "coherence_joint" in chosen else chosen
    right = {f"judge_accuracy.{n.removeprefix('coherence.')}" for n in measured if n.startswith("coherence.")}
    dropped = {name.partition(".")[2] for name in chosen if name.startswith("drop_")}
    beside = {f"{score}.{label}" for label in dropped for score in ("error", "balanced_accuracy", "mae", "corr", "a2")}
    return [name for name in known if name in chosen | right | beside]
