"""What tuning makes better: one number of a fitted model on rows that its fit did not see.

The held-out loss by which a fit chooses its number of steps is none: settings such as the weight of a KL or of a
likelihood change what it means, so that its smallest value tells nothing of the answers. What is compared here is a
score of answers, which means the same whatever was fitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...core.program import Program
from ...core.roles import generates
from ...data.dataset import Dataset
from ...errors import FitError, UsageError, suggest
from ...evaluation.conditioning import answerable_rows, conditioning_set, set_name
from ...evaluation.evaluate import evaluate, metric_names
from ...evaluation.likelihood import predictive_nats
from ...evaluation.registry import METRICS, TargetMetric
from ...evaluation.study import Study, target_of
from ...inference.fitted import FittedModel
from ...modalities.kinds import kind
from ...modalities.modality import Modality

NATS = "predictive_nats"
DRAWS = 32  # of the latent per row, as of `evaluate`
Direction = Literal["min", "max"]
SMALLER = (
    "error", "error_whole", "log_loss", "calibration_error", "rank_error", "rmse", "interval_score90", "mae",
    "time_error", "nll", NATS, "cells_rmse", "cells_error", "cells_nats",
)  # fmt: skip
LARGER = (
    "balanced_accuracy", "r2", "corr", "a2", "a2_nonzero", "a7", "f1", "f1_nonzero", "concordance", "auc", "auc_micro",
    "average_precision", "f1_macro", "f1_micro", "probe", "probe500", "mlp", "precision1", "precision5", "precision10",
    "precision50", "precision10_apart", "precision50_apart", "nmi", "coherence", "coherence_joint", "evidence",
    "importance_auc", "cells_r2", "correlation_total",
)  # fmt: skip


@dataclass(frozen=True)
class Objective:
    """The score that tuning makes smaller or larger.

    Args:
        metric: what was asked for, or chosen: "log_loss.label", or "predictive_nats", the mean over several.
        names: the metrics of `evaluate` that it is the mean of.
        direction: "min" or "max".
        asked_from: what answers are from, in words.
        sets: conditioning sets, whose scores are averaged. None: each row is answered from all that it has but labels
            and what is scored; of a program with conditions, from these.
    """

    metric: str
    names: tuple[str, ...]
    direction: Direction
    asked_from: str
    sets: tuple[tuple[str, ...], ...] | None = None

    @property
    def on_the_way(self) -> bool:
        """Whether it takes so little time that it may be computed while a fit goes on."""
        return all(_of_answers(name) for name in self.names)

    def better(self, value: float, other: float) -> bool:
        """Return whether a value is better than another one."""
        return value < other if self.direction == "min" else value > other

    def score(self, model: FittedModel, *, draws: int = DRAWS, seed: int = 0, root: Any = None) -> float:
        """Score a model on the test rows of its data.

        Args:
            model: the model; its data are at hand.
            draws: of the latent per row.
            seed: of the draws.
            root: the folder with the files of a recipe.

        Returns:
            The score.

        Raises:
            FitError: it is not a finite number, or no row can tell it.
        """
        if self.sets is None and self.on_the_way:
            found = [_as_rows_are(model, name, draws, seed, root) for name in self.names]
        else:
            found = [self._from_sets(model, name, draws, seed, root) for name in self.names]
        value = float(np.mean(found))
        if not math.isfinite(value):
            raise FitError(f"{self.metric} of held-out rows is not finite ({value}).")
        return value

    def _from_sets(self, model: FittedModel, name: str, draws: int, seed: int, root: Any) -> float:
        sets = self.sets or (all_but(model.program, name.partition(".")[2]),)
        how = dict(conditioning_sets=sets, draws=draws, seed=seed, root=root)
        found = evaluate(model, metrics=[name], **how)["metrics"].get(name)
        if isinstance(found, dict):
            own = [number for key, number in found.items() if key in map(set_name, sets)]
            numbers_of = own or list(found.values())  # some stand under a name of their own, such as "nothing"
            if not all(isinstance(number, int | float) for number in numbers_of):
                raise UsageError(f"metric {name}: it is a curve, and not one number; choose another.")
            found = float(np.mean(numbers_of)) if numbers_of else None
        if found is None:
            raise FitError(f"no held-out row can tell {name} given {', '.join(map(set_name, sets))}.")
        return float(found)


def choose_objective(
    program: Program,
    metric: str | None = None,
    direction: Direction | None = None,
    conditioning_sets: Sequence[str | Sequence[str]] | None = None,
) -> Objective:
    """Choose what is made better.

    Args:
        program: the program, of any weights.
        metric: the name of a metric of `evaluate`, such as "error.label", or its beginning up to the dot, which is the
            mean over all that it is of. None: the log loss of the first label of classes or tags; without one, of the
            first label the nats of its predictive density, and without any label the mean of the nats of each modality.
        direction: "min" or "max"; None: what the metric says.
        conditioning_sets: what answers are from; the mean over these sets. None: all that each row has.

    Returns:
        The objective.

    Raises:
        UsageError: there is no such metric, it does not depend on the fit, or neither direction is better.
    """
    sets = None
    if conditioning_sets is not None:
        sets = tuple(conditioning_set(program, names) for names in conditioning_sets)
    metric = _by_default(program) if metric is None else metric
    known = metric_names(program)
    names = tuple(name for name in known if metric in (name, name.partition(".")[0]))
    bases = [name.partition(".")[0] for name in known]
    if not names:
        raise UsageError(
            f"metric {metric}: there is none of that name; there are {', '.join(known)}."
            + suggest(metric, [*known, *bases])
        )
    base = metric.partition(".")[0]
    plain = METRICS.get(base)
    if isinstance(plain, TargetMetric) and not plain.asks:
        raise UsageError(f"metric {metric}: it scores an anchor without a latent, which no setting changes.")
    if sets is not None and not any(name.partition(".")[2] not in given for name in names for given in sets):
        raise UsageError(f"metric {metric}: what it scores is in every set that is given; leave it out of one.")
    if direction is None:
        if base not in SMALLER and base not in LARGER:
            raise UsageError(f"metric {metric}: it does not say which values are better; name --direction min or max.")
        direction = "min" if base in SMALLER else "max"
    named = [tuple(program.conditions)] if sets is None and program.conditions else sets
    asked_from = "all else that a row has" if named is None else ", ".join(map(set_name, named))
    return Objective(metric, names, direction, asked_from, sets)


def all_but(program: Program, name: str) -> tuple[str, ...]:
    """Return what a modality or label is answered from: the program's conditions, else all modalities but itself."""
    if program.conditions:
        return tuple(program.conditions)
    return tuple(one for one in program.encoded if one != name and program.modality(one).role == "modality")


def _by_default(program: Program) -> str:
    targets = [program.modality(name) for name in program.targets()]
    labels = sorted((m for m in targets if m.role == "label"), key=lambda m: not _has_log_loss(m))
    if labels:
        return f"{'log_loss' if _has_log_loss(labels[0]) else NATS}.{labels[0].name}"
    if not generates(program):
        raise UsageError(
            f"tune: {type(program).__name__} answers nothing here that could be scored; name a metric (--metric)."
        )
    return NATS


def _has_log_loss(m: Modality) -> bool:
    return kind(m) in ("class", "tags")


def _of_answers(name: str) -> bool:
    """Whether a metric scores answers about one modality, and nothing that is trained on the latent."""
    base = name.partition(".")[0]
    return base == NATS or (base in METRICS and isinstance(METRICS[base], TargetMetric))


def _as_rows_are(model: FittedModel, name: str, draws: int, seed: int, root: Any) -> float:
    """Score the answers about one modality from all else that each row has."""
    base, _, target = name.partition(".")
    program, dataset = model.program, model.data(root)
    rows, _ = answerable_rows(program, dataset, "test")
    given = all_but(program, target)
    if base == NATS:
        found = predictive_nats(model, rows, given, [target], draws=draws, seed=seed).get(target)
    else:
        found = _scored(model, dataset, rows, METRICS[base], target, given, draws, seed)
    if found is None:
        raise FitError(f"no held-out row has {target}, so that none can tell {name}.")
    if isinstance(found, dict):
        raise UsageError(f"metric {name}: it is a curve, and not one number; choose another.")
    return found


def _scored(
    model: FittedModel,
    dataset: Dataset,
    rows: Dataset,
    metric: TargetMetric,
    name: str,
    given: tuple[str, ...],
    draws: int,
    seed: int,
) -> Any:
    answer = model.query(
        rows, given=given, want=[name], draws=draws, seed=seed, split="all", quantiles=sorted(metric.quantiles)
    )
    study = Study(model, dataset, rows, [given], draws, seed=seed)
    target = target_of(study, rows, name, given, answer.want[name])
    return None if target is None else metric.score(target)
