"""Metrics of hidden cells: numbers, and classes, that `hide_cells` took out and a model puts in again."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from ...core.program import Program
from ...errors import UsageError
from ...inference.predictive import quantile_name
from ...modalities.modality import Modality
from ..imputation.hidden_cells import (
    AFFORDABLE,
    GIVEN,
    LEVELS,
    HiddenCells,
    answers,
    hidden_in,
    imputer_means,
    imputer_seconds,
    training_means,
)
from ..registry import family
from ..scores import SMALLEST, coverage, error_rate, r_squared, rmse
from ..study import Study

NUMBERS = ("rmse", "rmse_global", "rmse_imputer", "r2", "nats", *(f"coverage{level}" for level in LEVELS))
CLASSES = ("error", "nats")


@family("cells")
class ImputedCells:
    """cells_rmse.X and others of the hidden cells of X, answered from the rest of their rows.

    cells_nats.X is −ln p in nats per cell: of numbers under the Normal with mean and sd of the answer (of what has no
    density, such as a Bernoulli, p = mean of a 1), in input units; of classes their log-loss.
    """

    on_request = False

    def names(self, program: Program) -> list[str]:
        """List the metrics of the modalities with gaps that a program has a distribution for."""
        own = [m for m in map(program.modality, program.targets()) if m.gaps]
        return [f"cells_{key}.{m.name}" for m in own for key in (CLASSES if m.classes else NUMBERS)]

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute what is wanted; nothing of modalities of which no cell was hidden."""
        asked = {name.partition(".")[2] for name in wanted if name.startswith("cells_")}
        cells = {name: of for name, of in hidden_in(study).items() if name in asked}
        if not cells:
            return {}
        count = sum(len(of.truth) for of in cells.values())
        study.log(f"{count:,} hidden cells of {', '.join(cells)}, given {GIVEN}")
        try:
            found = answers(study, cells)
        except UsageError as error:
            study.log(f"no imputation: {error}")
            return {}
        numbers = {name: of for name, of in cells.items() if not of.modality.classes}
        imputed: dict[str, np.ndarray] = {}
        train = study.train
        anchored = any(f"cells_rmse_imputer.{name}" in wanted for name in numbers)
        if anchored and train is not None and imputer_seconds(train, study.program.modalities) <= AFFORDABLE:
            imputed = imputer_means(train, study.test, numbers)
        scores: dict[str, float] = {}
        for name, of in cells.items():
            own = _of_classes(of, found[name]) if of.modality.classes else _of_numbers(of, found[name])
            if name in numbers and train is not None:
                own["rmse_global"] = rmse(of.truth, training_means(train, of))
                own["r2"] = r_squared(own["rmse"], own["rmse_global"])
            if name in imputed:
                own["rmse_imputer"] = rmse(of.truth, imputed[name])
            scores |= {f"cells_{key}.{name}": score for key, score in own.items() if math.isfinite(score)}
        return {name: {GIVEN: score} for name, score in scores.items()}


def _of_numbers(cells: HiddenCells, answer: dict[str, np.ndarray]) -> dict[str, float]:
    truth, m = cells.truth, cells.modality
    found = {"rmse": rmse(truth, answer["mean"]), "nats": float(_nats(m, truth, answer).mean())}
    for level in LEVELS:
        low, high = (answer[quantile_name((50 + sign * level / 2) / 100)] for sign in (-1, 1))
        found[f"coverage{level}"] = coverage(truth, low, high)
    return found


def _nats(m: Modality, truth: np.ndarray, answer: dict[str, np.ndarray]) -> np.ndarray:
    """(cells,) −ln p."""
    mean, std = (answer[key].astype(np.float64) for key in ("mean", "std"))
    if not m.family.density and m.family.values == "numbers":
        p, x = (m.scaling.curve.bend(part) for part in (mean, truth))
        p = p.clip(SMALLEST, 1 - SMALLEST)
        return -(x * np.log(p) + (1 - x) * np.log1p(-p))
    variance = np.maximum(std**2, SMALLEST)
    return 0.5 * ((truth - mean) ** 2 / variance + np.log(2 * np.pi * variance))


def _of_classes(cells: HiddenCells, answer: dict[str, np.ndarray]) -> dict[str, float]:
    prob, truth = answer["prob"].astype(np.float64), cells.truth
    chosen = np.maximum(prob[np.arange(len(truth)), truth], SMALLEST)
    return {"error": error_rate(truth, prob.argmax(-1)), "nats": float(-np.log(chosen).mean())}
