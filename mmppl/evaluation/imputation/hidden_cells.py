"""Imputation of single cells that were hidden on purpose (`hide_cells`): how well they are answered from what is left
of their rows, beside simple imputers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...base.quiet import without_warnings
from ...data.dataset import Dataset
from ...modalities.modality import Modality
from ..study import Study

GIVEN = "the rest of its row"  # what a hidden cell is answered from
LEVELS = (50, 80, 90, 95)  # per cent, of the central intervals whose coverage is told
NEAREST, PASSES = 50, 5  # features that predict another, and passes, of the iterative imputer
PER_FIT, PER_PRODUCT = 2e-3, 2e-9  # seconds of one core of one of its regressions, and of each product in it
AFFORDABLE = 10.0  # seconds that it may take


@dataclass(frozen=True)
class HiddenCells:
    """The hidden cells of one modality in the rows that test a model.

    Args:
        modality: the modality.
        at: (n, *shape) bool, where they are.
        truth: (cells,) their values, in input units, or class codes.
    """

    modality: Modality
    at: np.ndarray
    truth: np.ndarray


def hidden_in(study: Study) -> dict[str, HiddenCells]:
    """Find the cells of the test rows that `hide_cells` has hidden.

    Args:
        study: the evaluation.

    Returns:
        name → its hidden cells; {} if the data do not say what was hidden.
    """
    whole = study.dataset.whole
    if whole is None and study.own_data and any(m.gaps for m in study.program.modalities):
        whole = study.model.data(study.root, hidden=False)
    if whole is None or whole is study.dataset:
        return {}
    place = {name: row for row, name in enumerate(whole.ids.tolist())}
    rows = np.array([place[name] for name in study.test.ids.tolist()], dtype=int)
    found = {}
    for m in study.program.modalities:
        before, after = _cells(whole, m)[rows], _cells(study.test, m)
        seen = study.test.observed[m.name].numpy().reshape(-1, *[1] * len(m.shape))
        at = before & ~after & seen
        if m.gaps and at.any():
            values = whole.values[m.name].numpy()[rows]
            truth = values if m.classes else np.asarray(m.value_in_input_units(values), np.float64)
            found[m.name] = HiddenCells(m, at, truth[at])
    return found


def _cells(data: Dataset, m: Modality) -> np.ndarray:
    """(N, *shape) bool, the cells that rows have."""
    there = data.observed[m.name].numpy().reshape(-1, *[1] * len(m.shape))
    if m.name in data.present:
        there = there & data.present[m.name].numpy()
    return np.broadcast_to(there, data.values[m.name].shape)


def answers(study: Study, cells: Mapping[str, HiddenCells]) -> dict[str, dict[str, np.ndarray]]:
    """Ask the model about hidden cells, given all that is left of their rows.

    Args:
        study: the evaluation.
        cells: name → its hidden cells.

    Returns:
        name → "mean", "std" and quantiles, or "prob", of the cells.
    """
    levels = sorted({(50 + sign * level / 2) / 100 for level in LEVELS for sign in (-1, 1)})
    found = study.model.query(
        study.test, want=list(cells), only_missing=True, draws=study.draws, seed=study.seed, split="all",
        quantiles=levels,
    ).want  # fmt: skip
    return {
        name: {key: part[of.at] for key, part in found[name].items() if key != "classes"} for name, of in cells.items()
    }


def training_means(train: Dataset, cells: HiddenCells) -> np.ndarray:
    """Predict hidden cells by the means of their columns over the train rows that have them.

    Args:
        train: the train rows.
        cells: the hidden cells, of numbers.

    Returns:
        (cells,) in input units.
    """
    m, there = cells.modality, _cells(train, cells.modality)
    values = np.asarray(m.value_in_input_units(train.values[m.name].numpy()), np.float64)
    mean = np.where(there, values, 0).sum(0) / np.maximum(there.sum(0), 1)
    return np.broadcast_to(mean, cells.at.shape)[cells.at]


def imputer_seconds(train: Dataset, modalities: Sequence[Modality]) -> float:
    """Estimate how long `imputer_means` takes on one core.

    Args:
        train: the train rows.
        modalities: the schema.

    Returns:
        Seconds.
    """
    columns = sum(m.size for m in _numbers(modalities))
    return columns * PASSES * (PER_FIT + PER_PRODUCT * len(train) * min(NEAREST, columns) ** 2)


def imputer_means(train: Dataset, test: Dataset, cells: Mapping[str, HiddenCells]) -> dict[str, np.ndarray]:
    """Predict hidden cells by chained Bayesian ridge regressions on the nearest features.

    Args:
        train: the train rows, which it learns from.
        test: the test rows.
        cells: name → its hidden cells, of numbers.

    Returns:
        name → (cells,) in input units.

    Source: van Buuren & Groothuis-Oudshoorn 2011, "mice", J. Stat. Softw. 45(3), as scikit-learn's IterativeImputer.
    """
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # isort: skip
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import IterativeImputer

    own = _numbers(train.modalities)
    known, asked = (np.concatenate([_with_gaps(part, m) for m in own], 1) for part in (train, test))
    imputer = IterativeImputer(
        n_nearest_features=min(NEAREST, known.shape[1]), max_iter=PASSES, random_state=0, keep_empty_features=True
    )
    with without_warnings(ConvergenceWarning):  # so many passes are the definition of this anchor
        imputer.fit(known)
        filled = imputer.transform(asked)
    found, column = {}, 0
    for m in own:
        part = filled[:, column : column + m.size].reshape(len(asked), *m.shape)
        column += m.size
        if m.name in cells:
            found[m.name] = np.asarray(m.value_in_input_units(part), np.float64)[cells[m.name].at]
    return found


def _numbers(modalities: Sequence[Modality]) -> list[Modality]:
    """Those whose columns an imputer of numbers takes."""
    return [m for m in modalities if m.role == "modality" and m.classes is None and not m.sequence]


def _with_gaps(data: Dataset, m: Modality) -> np.ndarray:
    """(n, size) in model units, NaN where a row lacks a cell."""
    values = np.where(_cells(data, m), data.values[m.name].numpy(), np.nan)
    return values.reshape(len(values), -1).astype(np.float64)
