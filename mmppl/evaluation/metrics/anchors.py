"""Anchors of generated numbers: rmse_global and rmse_class, the errors of the training means by themselves."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ...core.program import Program, class_label
from ...modalities.modality import kind
from ..registry import family
from ..study import Study

ANCHORS = ("rmse_global", "rmse_class")


@family("anchors")
class Anchors:
    """The rmse of the training mean, and of the training mean of the true class."""

    on_request = False

    def names(self, program: Program) -> list[str]:
        """List rmse_global.X and, beside a class label, rmse_class.X of all generated numbers."""
        there = ANCHORS if class_label(program) else ANCHORS[:1]
        numbers = [m for m in map(program.modality, program.targets()) if kind(m) == "number"]
        return [f"{anchor}.{m.name}" for m in numbers for anchor in there]

    def compute(self, study: Study, wanted: Collection[str]) -> dict[str, Any]:
        """Compute the anchors of modalities that some conditioning set does not contain."""
        found: dict[str, Any] = {}
        for m in study.program.modalities:
            names = [f"{anchor}.{m.name}" for anchor in ANCHORS]
            if any(name in wanted for name in names) and any(m.name not in given for given in study.sets):
                found |= {name: x for name, x in zip(names, study.anchors(m)) if name in wanted and np.isfinite(x)}
        return found
