"""What metrics are computed from: a fitted model, the rows that test it, and what metrics share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..core.program import Program
from ..core.roles import class_label
from ..data.dataset import Dataset
from ..errors import MMPPLError
from ..inference.fitted import FittedModel
from ..modalities.modality import Modality
from .anchors import predict
from .conditioning import sample


@dataclass(frozen=True)
class Losses:
    """The losses of single rows, which findings compare.

    Args:
        rows: (n,) numbers of the scored rows among the test rows.
        own: name of a loss → (n,) losses of the program's answers: "square" of numbers (the mean over entries), "error"
            and "log_loss" of classes, "error" of sequences, "time" of the median of survival times.
        of_global: the same of the anchor "global"; empty without train rows.
        weights: (n,) how many scored entries each row has: the mean over entries is that over rows with these weights.
    """

    rows: np.ndarray
    own: Mapping[str, np.ndarray]
    of_global: Mapping[str, np.ndarray]
    weights: np.ndarray


@dataclass
class Study:
    """One evaluation of a fitted model.

    Args:
        model: the model.
        dataset: all parts of the data.
        test: the rows that test it.
        sets: the conditioning sets.
        draws: the number of latent draws per row, for predictions.
        evidence_draws: the number of latent draws per row, for the evidence.
        seed: the seed of the draws and of everything that is trained.
        own_data: True if the data are those of the fit.
        root: the folder with the files of a recipe.
        log: receives one-line messages.
        losses: (target, conditioning set) → the losses of its rows, of what has been scored.
        seconds: conditioning set → seconds per row that the answers to all that was asked from it took.
    """

    model: FittedModel
    dataset: Dataset
    test: Dataset
    sets: Sequence[Sequence[str]]
    draws: int = 32
    evidence_draws: int = 128
    seed: int = 0
    own_data: bool = True
    root: Any = None
    log: Callable[[str], None] = lambda line: None
    losses: dict[tuple[str, tuple[str, ...]], Losses] = field(default_factory=dict)
    seconds: dict[tuple[str, ...], float] = field(default_factory=dict)

    @property
    def program(self) -> Program:
        """The program of the model."""
        return self.model.program

    @cached_property
    def label(self) -> Modality | None:
        """The label with one class per row, or None."""
        return class_label(self.program)

    @cached_property
    def train(self) -> Dataset | None:
        """The rows that anchors and probes learn from: the train rows of the data, else those of the fit, else None."""
        if len(rows := self.dataset.rows("train")):
            return self.dataset.take(sample(self.dataset, rows))
        try:
            own = self.model.data(self.root)
        except MMPPLError as error:
            self.log(f"no train rows, so no anchors: {error}")
            return None
        return own.take(sample(own, own.rows("train")))

    @cached_property
    def whole_train(self) -> Dataset | None:
        """The same rows with what the fit hid at random, so that fits that hid other values share the classifiers of
        generated values; None without train rows."""
        if not self.own_data or self.train is None:
            return self.train
        whole = self.model.data(self.root, hidden=False)
        return whole.take(sample(whole, whole.rows("train")))


@dataclass(frozen=True)
class Target:
    """One modality, answered from one conditioning set.

    Args:
        study: the evaluation.
        modality: the modality that is asked about.
        given: the names that are given.
        truth: (n, *shape) true values of the rows that have it, in input units, or class codes. Of a sequence the n
            steps that these rows have, (n, F), and of what rows lack single cells of the n cells that they have, (n,).
        answer: "mean", "std", quantiles or "prob" of the same rows or steps; empty if the program was not asked.
        rows: the same rows of the data set, which anchors predict.

    Example:
        >>> import mmppl, numpy as np
        >>> def bias(target: mmppl.Target) -> float:
        ...     return float(np.mean(target.answer["mean"] - target.truth))
        >>> age = mmppl.Modality("age", (), "normal")
        >>> answer = {"mean": np.array([31.0, 42.0])}
        >>> bias(mmppl.Target(study=None, modality=age, given=("image",), truth=np.array([30.0, 41.0]), answer=answer))
        1.0
    """

    study: Study
    modality: Modality
    given: tuple[str, ...]
    truth: np.ndarray
    answer: Mapping[str, np.ndarray]
    rows: Dataset | None = None
    _anchors: dict[str, dict[str, np.ndarray]] = field(default_factory=dict, repr=False, compare=False)

    def anchor(self, way: str) -> dict[str, np.ndarray]:
        """Predict the same rows without a latent model; see `mmppl.evaluation.anchors.predict`.

        Args:
            way: "global", "class", "linear" or "boosting".

        Returns:
            "prob", or "mean" and perhaps "std", or "q50"; {} without train rows, or if there is no such anchor.
        """
        study = self.study
        if study is None or study.train is None or self.rows is None:
            return {}
        if way not in self._anchors:
            given = [study.program.modality(name) for name in self.given]
            found = predict(way, study.train, self.rows, given, self.modality, label=study.label, seed=study.seed)
            self._anchors[way] = existing(self.rows, self.modality, found)
        return self._anchors[way]

    @property
    def row_of_each(self) -> np.ndarray:
        """(n,) numbers of the rows that the truth belongs to, from 0 on: of a sequence several steps to a row."""
        if self.rows is None or not self.in_parts:
            return np.arange(len(self.truth))
        return np.nonzero(_parts(self.rows, self.modality))[0]

    @property
    def column_of_each(self) -> np.ndarray | None:
        """(n,) numbers of the columns that the cells of the truth belong to, from 0 on; None where the truth still has
        its columns, (n, *shape)."""
        if self.rows is None or self.modality.sequence or not self.in_parts:
            return None
        return np.nonzero(_parts(self.rows, self.modality).reshape(len(self.rows), -1))[1]

    @property
    def in_parts(self) -> bool:
        """Whether several entries of the truth belong to a row: the steps of a sequence, or the cells that rows have of
        a modality of which some lack some."""
        return self.modality.sequence or (self.rows is not None and self.modality.name in self.rows.present)


def existing(rows: Dataset, m: Modality, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keep what exists: of a sequence the steps that rows have, and the cells of a modality of which rows lack some.

    Args:
        rows: n rows that have the modality.
        m: the modality.
        arrays: of (n, *shape), or (*shape) where they are the same in every row.

    Returns:
        The same arrays; of a sequence (steps, F) each, and of cells (cells,), of all rows one after the other.
    """
    if m.name not in rows.present:
        return dict(arrays)
    there, same = _parts(rows, m), len(m.shape)
    whole = {k: np.broadcast_to(x, (len(rows), *x.shape)) if x.ndim == same else x for k, x in arrays.items()}
    return {key: array[there] for key, array in whole.items()}


def truth_of(rows: Dataset, m: Modality) -> np.ndarray:
    """Return the true values of a modality.

    Args:
        rows: n rows that have the modality.
        m: the modality.

    Returns:
        Class codes, or numbers in input units, as `Target.truth` has them.
    """
    values = rows.values[m.name].numpy()
    return existing(rows, m, {"truth": values if m.classes else m.value_in_input_units(values)})["truth"]


def target_of(
    study: Study, rows: Dataset, name: str, given: Sequence[str], answer: Mapping[str, np.ndarray]
) -> Target | None:
    """Put together what metrics score: the answer about one modality, and the true values of the rows that have it.

    Args:
        study: the evaluation.
        rows: n rows.
        name: the modality.
        given: what it was answered from.
        answer: "mean" and so on of all n rows; {} where the program was not asked.

    Returns:
        The target; None where no row has the modality.
    """
    known, m = rows.observed[name], study.program.modality(name)
    if not known.any():
        return None
    kept = {key: x[known.numpy()] for key, x in answer.items() if key != "classes"}
    scored = rows if known.all() else rows.take(known.nonzero().squeeze(-1))
    truth = truth_of(scored, m)
    return Target(study, m, tuple(given), truth, existing(scored, m, kept), scored)


def _parts(rows: Dataset, m: Modality) -> np.ndarray:
    """(n, T) bool, the steps of a sequence, or (n, *shape) bool, the cells that rows have."""
    there = rows.present[m.name].numpy()
    return there[..., 0] if m.sequence else there


def point(modality: Modality, answer: Mapping[str, np.ndarray]) -> np.ndarray:
    """Choose the one number that stands for each answer: the median of a Laplace, and the mean of anything else.

    Args:
        modality: what is answered.
        answer: "mean" and, for a Laplace, "q50".

    Returns:
        (n, *shape) in input units.
    """
    return answer[modality.family.point]
