"""How well a run answers, by what it is given: classes, generated modalities, calibration, what its latent knows of the
label, whether generated modalities agree with it, collapse, and baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core.program import Program, class_label, generates
from ..data.dataset import Dataset
from ..errors import MMPPLError, UsageError, suggest
from ..modalities.modality import Modality, kind
from . import metrics as score
from .baselines import baseline_error, rmse_of_means
from .coherence import COHERENCE, coherence_names, coherences, unhidden
from .conditioning import answerable_rows, conditioning_set, default_conditioning_sets, sees, set_name
from .latent import LEARNT, _collapse, probe_names, probed
from .likelihood import log_likelihood, log_likelihood_names
from .predictions import scores

if TYPE_CHECKING:
    from ..runs.run import Run

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ANCHORS = ("rmse_global", "rmse_class")
UNASKED = (*ANCHORS, "baseline_error")  # need no answer of the program
ON_REQUEST = (*COHERENCE, "nll", "evidence")  # minutes: computed where `metrics` names them
FROM_TRAINING = (*UNASKED, "explained", *LEARNT, *COHERENCE, "nll_")
METRICS = {
    "class": ("error", "baseline_error", "balanced_accuracy", "log_loss", "calibration_error"),
    "sequence": ("error", "error_whole"),
    "number": ("rmse", *ANCHORS, "explained", "coverage50", "coverage90"),
}


def evaluate(
    run: Run,
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
    """Metrics of a run on one part of the data, for each set of given modalities.

    A row is asked with those of a conditioning set that it has; one that has none of them is answered with the prior,
    and counted in `nothing_seen`. Rows that lack what the program conditions on are left out, and counted in
    `left_out`.
    A metric skips the rows whose truth is missing, and is absent where there is none to score.

    Args:
        data: what `mmppl.read` takes; None: the data of the fit. Baselines and anchors learn from its train rows, or
            from those of the fit if it has none.
        metrics: beginnings of names ("error", "rmse.noisy"); nothing else is computed. None: all but `ON_REQUEST`,
            which may take minutes; "all": everything.
        given_sets: e.g. ["image", "image+word"]; None: `default_given_sets`.
        draws: latent draws per row (probes read the mean of z, coherence and nll take one draw).
        evidence_draws: latent draws per row of the evidence.
        say: hears one line per conditioning set.
    Returns:
        {"run", "split", "n": rows asked, "metrics"}, and "set" where answers are not those of the fit's settings
        (`Run.with_options`). For X a class: error.X, baseline_error.X (logistic regression on the mean-imputed given
        modalities, see `mmppl.baseline`), balanced_accuracy.X, log_loss.X in nats, calibration_error.X; for a sequence
        of classes: error.X per position and error_whole.X; for numbers, in input units: rmse.X of the predictive mean,
        its anchors rmse_global.X (training mean) and rmse_class.X (training mean of the true class), explained.X
        between them (0 to 1), and coverage50.X, coverage90.X, the shares of entries inside the central intervals of the
        predictive draws (those of a Bernoulli are 0 or 1, so that nearly every grey value is covered). Each is
        {conditioning set: number}, an anchor a number, and collapse {"eps": nats, "fraction": of latent dimensions with
        KL(q ‖ prior) ≤ eps}, q the answer to everything, the prior that to nothing. The KL is that of Gaussians of
        their means and variances: of a mixture it tells nothing where these are the prior's and its components are not.
        For a program with conditions the prior is the answer to them alone, and the same fraction is told for three
        more, as "prior_q" of KL(prior ‖ q), "prior_standard" of KL(prior ‖ N(0, I)), "q_standard" of KL(q ‖ N(0, I)),
        over the rows that have more than the conditions. (Absent where no modality is generated.)

        For a label L, from the means of z given each conditioning set, see `mmppl.probes`: probe500.L, the accuracy of
        logistic regression on 500 train rows drawn with replacement (Sutter et al. 2021, "Generalized multimodal
        ELBO"), and probe.L on all train rows, standardised (a seeded sample of 10,000 if there are more); precision1.L,
        precision5.L, precision10.L, the share of a row's nearest others that are of its class; nmi.L of k-means
        clusters with the classes.

        On request, for a generated modality X and the first label, see `mmppl.coherence`: coherence.X, the share of
        values generated from each conditioning set without X whose class, to a judge trained on the original X of the
        train rows and kept in the cache folder, is the row's; coherence_joint, under "nothing", of draws from the prior
        whose modalities are all of one class to their judges; judge_accuracy.X on the rows' own values, a number. Also
        on request, in nats per row and input units, see `mmppl.nats`: nll.X of the decoder, from every conditioning
        set, those with X too, and its anchors nll_global.X, nll_class.X and, of grey values, nll_floor.X; evidence,
        ln p(the other modalities | conditioning set), under "nothing" of all, on at most 1,000 rows, with evidence_se
        and
        evidence_distrusted.
    Raises:
        UsageError: unknown metric, modality or part, a conditioning set that the program cannot answer, or a seed
            outside 0 to 2³² − 1.
        DataError: no row to ask about.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"evaluate: seed {seed}; scikit-learn takes whole numbers from 0 to {2**32 - 1}.")
    program, log = run.program, log or (lambda line: None)
    if conditioning_sets is None:
        sets = default_conditioning_sets(program)
    else:
        sets = [conditioning_set(program, names) for names in conditioning_sets]
    generated = [program.modality(name) for name in program.targets()]
    of_targets = [name for m in generated for name in _names(program, m)]
    collapses = ["collapse"] if generates(program) else []
    on_request = [*coherence_names(program), *log_likelihood_names(program)]
    wanted = _wanted(metrics, [*of_targets, *probe_names(program), *collapses, *on_request])
    targets = [m for m in generated if any(name in wanted for name in _names(program, m))]
    dataset = run.dataset(data, root=root)
    for caveat in run.warnings(dataset):
        log(caveat)
    test, left_out = answerable_rows(program, dataset, split)
    train = _train_rows(run, dataset, root, log) if any(name.startswith(FROM_TRAINING) for name in wanted) else None

    found: dict[str, Any] = {}
    anchors = {}
    for m in targets:
        anchored = any(f"{metric}.{m.name}" in wanted for metric in (*ANCHORS, "explained"))
        if train is not None and anchored and any(m.name not in given for given in sets):
            anchors[m.name] = rmse_of_means(train, test, m, class_label(program))
            found |= {
                f"{name}.{m.name}": number for name, number in zip(ANCHORS, anchors[m.name]) if np.isfinite(number)
            }
    nothing_seen = {}
    for given in sets:
        key = set_name(given)
        nothing_seen[key] = len(test) - int(sees(test, given).sum())
        others = [m for m in targets if m.name not in given]
        asked = [m for m in others if any(n in wanted and not n.startswith(UNASKED) for n in _names(program, m))]
        judged: dict[str, dict[str, float]] = {m.name: {} for m in others}
        if asked:
            log(f"{', '.join(m.name for m in asked)} given {key}: {len(test):,} rows")
            answer = run.query(
                test, given=given, want=[m.name for m in asked], draws=draws, seed=seed, split="all",
                quantiles=QUANTILES if any(name.startswith("coverage") for name in wanted) else (),
            )  # fmt: skip
            judged |= {m.name: scores(m, answer.want[m.name], test) for m in asked}
        for m in others:
            if "rmse" in judged[m.name] and m.name in anchors:
                judged[m.name]["explained"] = score.explained_share(judged[m.name]["rmse"], *anchors[m.name])
            if train is not None and f"baseline_error.{m.name}" in wanted:
                inputs = [program.modality(name) for name in given]
                judged[m.name]["baseline_error"] = baseline_error(train, test, inputs, m, seed=seed)
            for metric, number in judged[m.name].items():
                if np.isfinite(number):
                    found.setdefault(f"{metric}.{m.name}", {})[key] = number
    found |= probed(run, train, test, sets, wanted, seed=seed, log=log)
    if "collapse" in wanted:
        found |= _collapse(run, test, draws, seed, log)
    if train is not None and any(name.startswith(COHERENCE) for name in wanted):
        lessons = train if data is not None else unhidden(run, train, root)
        found |= coherences(run, lessons, test, sets, wanted, seed=seed, log=log)
    found |= log_likelihood(run, train, test, sets, wanted, draws=evidence_draws, seed=seed, log=log)
    return {
        "run": str(run.path),
        **({"set": run.set} if run.set else {}),
        "split": split,
        "n": len(test),
        "metrics": {name: found[name] for name in wanted if name in found}
        | {"left_out": left_out, "nothing_seen": nothing_seen},
    }


def _names(program: Program, m: Modality) -> list[str]:
    """Every metric that `evaluate` has for a modality."""
    without = () if class_label(program) else ("rmse_class", "explained")
    return [f"{metric}.{m.name}" for metric in METRICS[kind(m)] if metric not in without]


def _wanted(metrics: Sequence[str] | None, known: list[str]) -> list[str]:
    """The known names that begin with one of `metrics`; for None all that need no request. What judges find is not told
    without how good they are."""
    if metrics is None:
        return [name for name in known if not name.startswith(ON_REQUEST)]
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    if "all" in metrics:
        return known
    for beginning in metrics:
        if not beginning or not any(name.startswith(beginning) for name in known):
            near = suggest(beginning, [*known, *(name.partition(".")[0] for name in known)])
            raise UsageError(f"no metric {beginning!r}; there are {', '.join(known)}.{near}")
    chosen = {name for name in known if name.startswith(tuple(metrics))}
    judged = known if "coherence_joint" in chosen else chosen
    right = {f"judge_accuracy.{n.removeprefix('coherence.')}" for n in judged if n.startswith("coherence.")}
    return [name for name in known if name in chosen | right]


def _train_rows(run: Run, dataset: Dataset, root: Any, log: Callable[[str], None]) -> Dataset | None:
    """Rows for baselines and anchors to learn from: the train rows of the data, else those of the fit, else none."""
    if len(rows := dataset.rows("train")):
        return dataset.take(rows)
    try:
        own = run.data(root)
    except MMPPLError as error:
        log(f"no train rows, so no baseline and no anchors: {error}")
        return None
    return own.take(own.rows("train"))
