"""Importances of modalities, and how well they tell noise from what belongs to a row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ...core.program import Program
from ...data.dataset import Dataset
from ..registry import family
from ..scores import detection
from ..study import Study

QUANTITY = "importance"
FINDS = ("auc", "f1", "f1_both", "precision", "recall")  # of noise


def noise_of(rows: Dataset, name: str) -> np.ndarray | None:
    """Read from an annotation which rows show noise.

    Args:
        rows: n rows.
        name: the modality.

    Returns:
        (n,) bool; None without an annotation `noise_NAME` of bools, or of zeros and ones.
    """
    noise = rows.annotations.get(f"noise_{name}")
    if noise is None or noise.dtype.kind not in "biuf" or not np.isin(noise, (0, 1)).all():
        return None
    return noise.astype(bool)


@family("importance")
class Importance:
    """importance.X, the mean importance of every modality that a program weighs, and importance_auc.X etc.: how well a
    low importance tells the rows that the annotation noise_X marks as noise.
    """

    on_request = False

    def names(self, program: Program) -> list[str]:
        """List the metrics of every modality that the program weighs."""
        if QUANTITY not in program.quantities:
            return []
        every = (QUANTITY, *(f"{QUANTITY}_{way}" for way in FINDS))
        return [f"{way}.{name}" for name in program.encoded for way in every]

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute what is wanted, over the rows that have the modality; what noise is only an annotation can tell."""
        program, rows = study.program, study.test
        answer = study.model.query(rows, given=list(program.encoded), want=[QUANTITY], seed=study.seed, split="all")
        found: dict[str, float] = {}
        for i, name in enumerate(program.encoded):
            seen = rows.observed[name].numpy()
            importance = answer[QUANTITY]["value"][seen, i]
            if not len(importance):
                continue
            found[f"{QUANTITY}.{name}"] = float(importance.mean())
            noise = noise_of(rows, name)
            if noise is None and f"noise_{name}" in rows.annotations:
                study.log(f"noise_{name} is neither bool nor 0 and 1: nothing is told of how noise is found")
            if noise is not None:
                numbers = detection(noise[seen], 1 - importance)
                found |= {f"{QUANTITY}_{way}.{name}": number for way, number in numbers.items()}
        return {name: number for name, number in found.items() if name in wanted}
