"""How much of a label's scores is left when modalities are dropped at inference."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from ...core.program import Program
from ...data.dataset import Dataset
from ...modalities.kinds import is_score, kind
from ...modalities.modality import Modality
from ..conditioning import set_name, with_all
from ..registry import family
from ..scores import balanced_accuracy, correlation, error_rate, mean_absolute_error
from ..study import Study, point
from .sentiment import two_way_accuracy

DROP = "drop_"
OF_NUMBERS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "a2": two_way_accuracy,
    "corr": correlation,
    "mae": mean_absolute_error,
}
OF_CLASSES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": lambda truth, predicted: 1 - error_rate(truth, predicted),
    "balanced_accuracy": balanced_accuracy,
}


@family("drop")
class Drop:
    """drop_a2.L, drop_corr.L and drop_mae.L of a label L that is one number, drop_accuracy.L and
    drop_balanced_accuracy.L of a class: the score of a conditioning set as a ratio to that of all of them together,
    over the rows that have everything. An error grows where modalities are dropped, so its ratio is above 1.

    No ratio stands alone: a model that answers nearly the same for every row keeps or loses a2 by the sign of that
    answer alone. `evaluate` therefore adds the scores themselves.
    """

    on_request = True

    def names(self, program: Program) -> list[str]:
        """List the ratios of every label."""
        return [f"{DROP}{score}.{m.name}" for m in _labels(program) for score in _scores(m)]

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute what is wanted; nothing without a conditioning set that lacks one of the modalities."""
        program = study.program
        full = tuple(name for name in program.encoded if any(name in given for given in study.sets))
        labels = [m for m in _labels(program) if m.name not in full]
        labels = [m for m in labels if any(f"{DROP}{score}.{m.name}" in wanted for score in _scores(m))]
        subsets = [tuple(given) for given in study.sets if given and set(given) < set(full)]
        rows = with_all(study.test, full)
        if not labels or not subsets or not len(rows) or program.can_answer(full):
            return {}
        found: dict[str, dict[str, float]] = {}
        whole = _scored(study, rows, full, labels)
        for given in subsets:
            for name, score in _scored(study, rows, given, labels).items():
                base = whole[name]
                if name in wanted and np.isfinite([score, base]).all() and base != 0:
                    found.setdefault(name, {})[set_name(given)] = score / base
        return found


def _labels(program: Program) -> list[Modality]:
    labels = [program.modality(name) for name in program.targets()]
    return [m for m in labels if m.role == "label" and (is_score(m) or kind(m) == "class")]


def _scores(m: Modality) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    return OF_NUMBERS if is_score(m) else OF_CLASSES


def _scored(study: Study, rows: Dataset, given: tuple[str, ...], labels: list[Modality]) -> dict[str, float]:
    """Return "drop_SCORE.LABEL" → the score of the answers from one conditioning set."""
    want = [m.name for m in labels]
    answers = study.model.query(
        rows, given=given, want=want, draws=study.draws, seed=study.seed, split="all", quantiles=(0.5,)
    ).want
    found: dict[str, float] = {}
    for m in labels:
        known = rows.observed[m.name].numpy()
        if not known.any():
            continue
        values = rows.values[m.name].numpy()[known]
        truth = m.value_in_input_units(values) if is_score(m) else values
        answer = answers[m.name]
        predicted = (point(m, answer) if is_score(m) else answer["prob"].argmax(-1))[known]
        found |= {f"{DROP}{name}.{m.name}": score(truth, predicted) for name, score in _scores(m).items()}
    return found
