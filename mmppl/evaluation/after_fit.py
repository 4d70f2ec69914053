"""What a fit is told at its end: its errors on the test rows beside the anchors that cost little, and findings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..core.program import Program
from ..core.roles import generates
from ..data.dataset import Dataset
from ..errors import DataError
from ..inference.fitted import FittedModel
from ..modalities.kinds import kind
from ..modalities.modality import Modality
from .anchors import seconds
from .conditioning import default_conditioning_sets
from .evaluate import evaluate, metric_names
from .imputation.hidden_cells import LEVELS

DRAWS = 16  # per test row
OF_CODES = ("correlation_total",)  # of programs that have it
COVERAGES = tuple(f"coverage{level}" for level in LEVELS)  # of cells that were hidden
SHARE = 0.1  # of the time of the fit that anchors may take
PER_STEP, PER_WEIGHT = 5e-3, 6e-10  # seconds of one core: of a step by itself, and of one weight for one row


def after_fit(
    model: FittedModel,
    *,
    epochs: int,
    batch_size: int,
    root: Any = None,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Evaluate a model that has just been fitted on the test rows.

    Errors and rmse stand beside the training mean or the most frequent class. Linear and boosted anchors are computed,
    in this order, as long as all of them are estimated to take at most `SHARE` of the time of the fit; `evaluate` has
    the others. Both times are estimated from rows, features and weights alone, so that the same fit always tells the
    same.

    Args:
        model: the model.
        epochs: the epochs that its fit took.
        batch_size: the rows of a step.
        root: the folder with the files that a recipe needs.
        log: receives one line per conditioning set.

    Returns:
        {"n": conditioning set → rows, "metrics", "warnings"}, with empty ones if there is no test row.
    """
    log = log or (lambda line: None)
    program, known = model.program, metric_names(model.program)
    targets = sorted(map(program.modality, program.targets()), key=lambda m: m.family.error_metric)  # labels first
    try:
        dataset = model.data(root)
        ways = ["global", *_affordable(program, targets, dataset, epochs, batch_size)]
        wanted = [name for name in (*(n for m in targets for n in _names(m, ways)), *OF_CODES) if name in known]
        if not wanted:
            return {"n": {}, "metrics": {}, "warnings": []}
        collapse = ["collapse"] if generates(program) else []
        found = evaluate(model, metrics=[*wanted, *collapse], draws=DRAWS, root=root, log=log)
    except DataError as error:  # a fit is good even where nothing is left to test it on
        log(f"no test: {error}")
        return {"n": {}, "metrics": {}, "warnings": []}
    metrics = {name: found["metrics"][name] for name in wanted if name in found["metrics"]}
    return {"n": found["n"], "metrics": metrics, "warnings": found["warnings"]}


def _names(m: Modality, ways: list[str]) -> list[str]:
    own = "auc" if kind(m) == "tags" else m.family.error_metric
    more = ["r2"] if own == "rmse" else []
    cells = [f"cells_{name}" for name in ("error", "rmse", "rmse_global", "r2", "nats", *COVERAGES)] if m.gaps else []
    return [f"{name}.{m.name}" for name in (own, *(f"{own}_{way}" for way in ways), *more, *cells)]


def _affordable(program: Program, targets: list[Modality], dataset: Dataset, epochs: int, batch_size: int) -> list[str]:
    """Choose the anchors that take little time beside the fit."""
    rows = len(dataset.rows("train"))
    weights = sum(p.numel() for p in program.parameters())
    left = SHARE * epochs * (PER_STEP * math.ceil(rows / batch_size) + PER_WEIGHT * weights * rows)
    sets = [[program.modality(name) for name in given] for given in default_conditioning_sets(program)]
    chosen = []
    for way in ("linear", "boosting"):
        left -= sum(seconds(way, rows, given, m) for given in sets for m in targets if m not in given)
        if left < 0:
            break
        chosen.append(way)
    return chosen
