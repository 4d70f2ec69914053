"""How well a run answers, by what it is given: classes, generated modalities, calibration, collapse, and baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from . import metrics as score
from .baseline import baseline_error, rmse_of_means
from .data import Dataset
from .errors import DataError, MMPPLError, UsageError, suggest
from .modality import Modality
from .program import Program

if TYPE_CHECKING:
    from .runs import Run

MOST_FOR_ALL_SUBSETS = 4  # beyond so many modalities: each one alone, and all together
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
ANCHORS = ("rmse_global", "rmse_class")
UNASKED = (*ANCHORS, "baseline_error")  # need no answer of the program
FROM_TRAINING = (*UNASKED, "explained")
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
    given_sets: Sequence[str | Sequence[str]] | None = None,
    draws: int = 32,
    seed: int = 0,
    root: Any = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Metrics of a run on one part of the data, for each set of given modalities.

    A row is asked with those of a given-set that it has; one that has none of them is answered with the prior, and
    counted in `nothing_seen`. Rows that lack what the program conditions on are left out, and counted in `left_out`.
    A metric skips the rows whose truth is missing, and is absent where there is none to score.

    Args:
        data: what `mmppl.read` takes; None: the data of the fit. Baselines and anchors learn from its train rows, or
            from those of the fit if it has none.
        metrics: beginnings of names ("error", "rmse.noisy"); nothing else is computed. None: all.
        given_sets: e.g. ["image", "image+word"]; None: `default_given_sets`.
        draws: latent draws per row.
        say: hears one line per given-set.
    Returns:
        {"run", "split", "n": rows asked, "metrics"}. For X a class: error.X, baseline_error.X (logistic regression on
        the mean-imputed given modalities, see `mmppl.baseline`), balanced_accuracy.X, log_loss.X in nats,
        calibration_error.X; for a sequence of classes: error.X per position and error_whole.X; for numbers, in input
        units: rmse.X of the predictive mean, its anchors rmse_global.X (training mean) and rmse_class.X (training mean
        of the true class), explained.X between them (0 to 1), and coverage50.X, coverage90.X, the shares of entries
        inside the central intervals of the predictive draws (those of a Bernoulli are 0 or 1, so that nearly every grey
        value is covered). Each is {given-set: number}, an anchor a number, and
        collapse {"eps": nats, "fraction": of latent dimensions with KL(q ‖ prior) ≤ eps}, q the answer to everything.
        The prior is N(0, I), or for a program with conditions the answer to them alone; then the same fraction is told
        for three more, as "prior_q" of KL(prior ‖ q), "prior_standard" of KL(prior ‖ N(0, I)), "q_standard" of
        KL(q ‖ N(0, I)), over the rows that have more than the conditions.
    Raises:
        UsageError: unknown metric, modality or part, or a given-set that the program cannot answer.
        DataError: no row to ask about.
    """
    program, hear = run.program, say or (lambda line: None)
    sets = default_given_sets(program) if given_sets is None else [_given_set(program, names) for names in given_sets]
    generated = [program.modality(name) for name in program.answers()]
    wanted = _wanted(metrics, [*(name for m in generated for name in _names(program, m)), "collapse"])
    targets = [m for m in generated if any(name in wanted for name in _names(program, m))]
    dataset = run.dataset(data, root=root)
    for caveat in run.caveats(dataset):
        hear(caveat)
    test, left_out = askable(program, dataset, split)
    train = _train_rows(run, dataset, root, hear) if any(name.startswith(FROM_TRAINING) for name in wanted) else None

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
            hear(f"{', '.join(m.name for m in asked)} given {key}: {len(test):,} rows")
            answer = run.query(
                test, given=given, want=[m.name for m in asked], draws=draws, seed=seed, split="all",
                quantiles=QUANTILES if any(name.startswith("coverage") for name in wanted) else (),
            )  # fmt: skip
            judged |= {m.name: _judged(m, answer.want[m.name], test) for m in asked}
        for m in others:
            if "rmse" in judged[m.name] and m.name in anchors:
                judged[m.name]["explained"] = score.explained_share(judged[m.name]["rmse"], *anchors[m.name])
            if train is not None and f"baseline_error.{m.name}" in wanted:
                inputs = [program.modality(name) for name in given]
                judged[m.name]["baseline_error"] = baseline_error(train, test, inputs, m, seed=seed)
            for metric, number in judged[m.name].items():
                if np.isfinite(number):
                    found.setdefault(f"{metric}.{m.name}", {})[key] = number
    if "collapse" in wanted:
        found |= _collapse(run, test, draws, seed, hear)
    return {
        "run": str(run.path),
        "split": split,
        "n": len(test),
        "metrics": {name: found[name] for name in wanted if name in found}
        | {"left_out": left_out, "nothing_seen": nothing_seen},
    }


def summarise(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation (n − 1 below the line) over runs, of every number that all of them have.

    Args:
        results: what `evaluate` returned.
    Returns: {"runs": the results, "mean": {...}, "sd": {...}}, nested as their metrics; sd is None for a single run.
    """
    metrics = [result["metrics"] for result in results]
    return {"runs": list(results), "mean": _over_runs(metrics, np.mean), "sd": _over_runs(metrics, _sd)}


def default_given_sets(program: Program) -> list[tuple[str, ...]]:
    """What a program is asked to answer from: its conditions; or else every non-empty subset of the modalities that its
    guide may see, smallest first (beyond `MOST_FOR_ALL_SUBSETS` of them each alone and all together)."""
    if program.conditions:
        return [tuple(program.conditions)]
    names = [name for name in program.encoded if program.modality(name).role == "modality"]
    sizes = range(1, len(names) + 1) if len(names) <= MOST_FOR_ALL_SUBSETS else (1, len(names))
    return [subset for size in sizes for subset in combinations(names, size)]


def set_name(given: Sequence[str]) -> str:
    """The names joined by "+", as in "image+word"; "nothing" for the empty set."""
    return "+".join(given) or "nothing"


def class_label(program: Program) -> Modality | None:
    """The first label that is one class per row."""
    return next((m for m in program.modalities if m.role == "label" and _kind(m) == "class"), None)


def askable(program: Program, dataset: Dataset, split: Literal["train", "valid", "test", "all"]) -> tuple[Dataset, int]:
    """The rows of a part that have all that the program conditions on, and how many have not."""
    rows = dataset.rows(split)
    has = torch.ones(len(rows), dtype=torch.bool)
    for name in program.conditions:
        has &= dataset.observed[name][rows]
    if not has.any():
        lack = f" with {', '.join(program.conditions)}" if program.conditions else ""
        raise DataError(f"{dataset.name}: no {split} row{lack} to ask about; choose another part (--split all).")
    return dataset.take(rows[has]), int((~has).sum())


def sees(dataset: Dataset, given: Sequence[str]) -> torch.Tensor:
    """(N,) bool: the row has any of the given modalities."""
    return torch.stack([dataset.observed[n] for n in given]).any(0) if given else torch.zeros(len(dataset)).bool()


def _given_set(program: Program, names: str | Sequence[str]) -> tuple[str, ...]:
    chosen = [part for part in names.split("+") if part] if isinstance(names, str) else list(names)
    known = [m.name for m in program.modalities]
    for name in chosen:
        if name not in known:
            raise UsageError(f"given-set {set_name(chosen)!r}: no modality {name!r}.{suggest(name, known)}")
    if reason := program.can_answer(chosen):
        raise UsageError(f"given-set {set_name(chosen)!r}: {reason}.")
    return tuple(name for name in known if name in chosen)


def _kind(m: Modality) -> Literal["class", "sequence", "number"]:
    return "number" if m.classes is None else "sequence" if m.shape else "class"


def _names(program: Program, m: Modality) -> list[str]:
    """Every metric that `evaluate` has for a modality."""
    without = () if class_label(program) else ("rmse_class", "explained")
    return [f"{metric}.{m.name}" for metric in METRICS[_kind(m)] if metric not in without]


def _wanted(metrics: Sequence[str] | None, known: list[str]) -> list[str]:
    """The known names that begin with one of `metrics`; all for None."""
    if metrics is None:
        return known
    metrics = [metrics] if isinstance(metrics, str) else metrics
    for beginning in metrics:
        if not any(name.startswith(beginning) for name in known):
            near = suggest(beginning, [*known, *(name.partition(".")[0] for name in known)])
            raise UsageError(f"no metric {beginning!r}; there are {', '.join(known)}.{near}")
    return [name for name in known if name.startswith(tuple(metrics))]


def _train_rows(run: Run, dataset: Dataset, root: Any, hear: Callable[[str], None]) -> Dataset | None:
    """Rows for baselines and anchors to learn from: the train rows of the data, else those of the fit, else none."""
    if len(rows := dataset.rows("train")):
        return dataset.take(rows)
    try:
        own = run.data(root)
    except MMPPLError as error:
        hear(f"no train rows, so no baseline and no anchors: {error}")
        return None
    return own.take(own.rows("train"))


def _judged(m: Modality, answer: Mapping[str, np.ndarray], test: Dataset) -> dict[str, float]:
    """Metrics of one modality over the rows whose truth is known; {} where there are none."""
    known = test.observed[m.name].numpy()
    if not known.any():
        return {}
    truth = test.values[m.name].numpy()[known]
    if _kind(m) == "number":
        truth = m.value_in_input_units(truth)
        numbers = {"rmse": score.rmse(truth, answer["mean"][known])}
        if "q25" in answer:
            numbers["coverage50"] = score.coverage(truth, answer["q25"][known], answer["q75"][known])
            numbers["coverage90"] = score.coverage(truth, answer["q05"][known], answer["q95"][known])
        return numbers
    prob = answer["prob"][known]
    predicted = prob.argmax(-1)
    if _kind(m) == "sequence":
        return {"error": score.error_rate(truth, predicted), "error_whole": score.whole_error_rate(truth, predicted)}
    return {
        "error": score.error_rate(truth, predicted),
        "balanced_accuracy": score.balanced_accuracy(truth, predicted),
        "log_loss": score.log_loss(truth, prob),
        "calibration_error": score.calibration_error(truth, prob),
    }


def _collapse(
    run: Run, test: Dataset, draws: int, seed: int, hear: Callable[[str], None]
) -> dict[str, dict[str, list[float]]]:
    """The collapse curves over the rows that have a modality beyond the conditions; {} without a z."""
    program = run.program
    beyond = [n for n in program.encoded if program.modality(n).role == "modality" and n not in program.conditions]
    rows = test.take(sees(test, beyond).nonzero().squeeze(-1))

    def latent(given: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        z = run.query(rows, given=given, want=["z"], draws=draws, seed=seed, split="all").want["z"]
        return z["mean"], z["std"]

    def curve(*gaussians: np.ndarray) -> list[float]:
        return score.collapse_curve(score.gaussian_kl(*gaussians)).tolist()

    try:
        q = latent(program.encoded)
        prior = latent(program.conditions) if program.conditions else ()
    except UsageError as error:  # no latent of that name, or none that can be had given everything
        hear(f"no collapse curve: {error}")
        return {}
    curves = {"fraction": curve(*q, *prior)}
    if prior:
        curves |= {"prior_q": curve(*prior, *q), "prior_standard": curve(*prior), "q_standard": curve(*q)}
    return {"collapse": {"eps": score.THRESHOLDS.tolist(), **curves}}


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _over_runs(values: Sequence[Any], statistic: Callable[[Sequence[float]], Any]) -> Any:
    """`statistic` over numbers at the same place in nested dicts and lists; keys that only some have are dropped."""
    first = values[0]
    if isinstance(first, Mapping):
        shared = [key for key in first if all(key in value for value in values)]
        return {key: _over_runs([value[key] for value in values], statistic) for key in shared}
    if isinstance(first, list):
        return [_over_runs(list(column), statistic) for column in zip(*values)]
    number = statistic(values)
    return None if number is None else float(number)
