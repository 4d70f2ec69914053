"""How well a fitted model answers from each conditioning set: every registered metric, over the rows of one part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from ..core.program import Program, class_label
from ..errors import UsageError, suggest
from ..inference.fitted import FittedModel
from ..modalities.modality import Modality, kind
from .conditioning import answerable_rows, conditioning_set, default_conditioning_sets, has_any, set_name
from .registry import METRICS, Metric, TargetMetric
from .study import Study, Target


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

    A row is asked with those modalities of a conditioning set that it has. A row that has none of them is answered with
    the prior, and counted in `nothing_seen`. Rows that lack what the program conditions on are left out, and counted in
    `left_out`. A metric skips rows whose true value is missing, and is absent if no row remains.

    For X a class: error.X; baseline_error.X (logistic regression on the mean-imputed given modalities, see
    `baselines`); balanced_accuracy.X; log_loss.X in nats; calibration_error.X. For a sequence of classes: error.X per
    position, and error_whole.X.

    For numbers, in input units: rmse.X of the predictive mean; its anchors rmse_global.X (training mean) and
    rmse_class.X (training mean of the true class); explained.X between them (0 to 1); coverage50.X and coverage90.X,
    the shares of entries inside the central intervals of the predictive draws (those of a Bernoulli are 0 or 1, so
    nearly every grey value is covered). An anchor is one number; each other metric is {conditioning set: number}.

    collapse is {"eps": nats, "fraction": share of latent dimensions with KL(q ‖ prior) ≤ eps}, where q is the answer
    given everything, and the prior the answer given nothing. The KL is that of Gaussians with their means and
    variances; for a mixture it says nothing if these equal the prior's although the components do not. For a program
    with conditions, the prior is the answer given them alone, and there are three more curves, over the rows that have
    more than the conditions: "prior_q" of KL(prior ‖ q), "prior_standard" of KL(prior ‖ N(0, I)), "q_standard" of KL(q
    ‖ N(0, I)). It is absent if no modality is generated.

    For a label L, from the means of z given each conditioning set (see `latent`): probe500.L, the accuracy of logistic
    regression on 500 train rows drawn with replacement (Sutter et al. 2021, "Generalized multimodal ELBO"); probe.L on
    all train rows, standardised (a seeded sample of 10,000 if there are more); precision1.L, precision5.L and
    precision10.L, the share of a row's nearest other rows that are of its class; nmi.L of k-means clusters with the
    classes.

    On request, for a generated modality X and the first label (see `coherence`): coherence.X, for each conditioning set
    without X the share of generated values whose class, predicted by a classifier that was trained on the original X of
    the train rows and kept in the cache folder, is that of the row; coherence_joint, under "nothing", the share of
    draws from the prior whose modalities all get the same class; judge_accuracy.X, the accuracy of that classifier on
    the rows' own values, one number.

    Also on request, in nats per row and input units (see `likelihood`): nll.X of the decoder from every conditioning
    set, including those with X, and its anchors nll_global.X, nll_class.X and, for grey values, nll_floor.X; evidence,
    ln p(the other modalities | conditioning set), under "nothing" that of all modalities, on at most 1,000 rows, with
    evidence_se and evidence_distrusted.

    Args:
        run: the model, such as a `Run`.
        data: anything that `mmppl.read` takes; None takes the data of the fit. Baselines and anchors learn from its
            train rows, or from those of the fit if it has none.
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
        {"run", "split", "n": the number of rows, "metrics"}, and "set" if the answers depend on other options than
        those of the fit (`Run.with_options`).

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
        (359, ['rmse.noisy', 'left_out', 'nothing_seen'])
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
    for warning in run.warnings(dataset):
        log(warning)
    test, left_out = answerable_rows(program, dataset, split)
    study = Study(run, dataset, test, sets, draws, evidence_draws, seed, data is None, root, log)
    found = _of_targets(study, wanted)
    for metric in _families():
        if own := [name for name in metric.names(program) if name in wanted]:
            found |= metric.compute(study, own)
    return {
        "run": run.name,
        **({"set": run.options} if run.options else {}),
        "split": split,
        "n": len(test),
        "metrics": {name: found[name] for name in wanted if name in found}
        | {
            "left_out": left_out,
            "nothing_seen": {set_name(given): len(test) - int(has_any(test, given).sum()) for given in sets},
        },
    }


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
    """Compute {metric.X: {conditioning set: number}} for everything that the program answers about."""
    program, test = study.program, study.test
    found: dict[str, dict[str, float]] = {}
    for given in study.sets:
        chosen = {
            m.name: [metric for metric in _target_metrics(program, m) if f"{metric.name}.{m.name}" in wanted]
            for m in _targets(program)
            if m.name not in given
        }
        asked = [name for name, metrics in chosen.items() if any(metric.asks for metric in metrics)]
        answers: dict[str, dict[str, np.ndarray]] = {}
        if asked:
            study.log(f"{', '.join(asked)} given {set_name(given)}: {len(test):,} rows")
            quantiles = sorted({q for name in asked for metric in chosen[name] for q in metric.quantiles})
            answers = study.model.query(
                test, given=given, want=asked, draws=study.draws, seed=study.seed, split="all", quantiles=quantiles
            ).want
        for name, metrics in chosen.items():
            known = test.observed[name].numpy()
            if not metrics or not known.any():
                continue
            m = program.modality(name)
            truth = test.values[name].numpy()[known]
            truth = truth if m.classes else m.value_in_input_units(truth)
            answer = {key: x[known] for key, x in answers.get(name, {}).items() if key != "classes"}
            target = Target(study, m, tuple(given), truth, answer)
            for metric in metrics:
                number = metric.score(target)
                if np.isfinite(number):
                    found.setdefault(f"{metric.name}.{name}", {})[set_name(given)] = number
    return found


def _targets(program: Program) -> list[Modality]:
    return [program.modality(name) for name in program.targets()]


def _target_metrics(program: Program, m: Modality) -> list[TargetMetric]:
    """List the metrics of one modality."""
    every = [metric for metric in METRICS.values() if isinstance(metric, TargetMetric)]
    labelled = class_label(program) is not None
    return [metric for metric in every if kind(m) in metric.of and (labelled or not metric.needs_label)]


def _families() -> list[Metric]:
    return [metric for metric in METRICS.values() if not isinstance(metric, TargetMetric)]


def _wanted(program: Program, metrics: Sequence[str] | None) -> list[str]:
    """Select the known names that begin with one of `metrics`; None selects all except those on request.

    What a classifier finds is never reported without the accuracy of that classifier.
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
    return [name for name in known if name in chosen | right]
