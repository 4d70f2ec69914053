"""The rows that a fit learns from and those that it holds out: the data's own parts, a share, or folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...core.program import Program
from ...data.dataset import Dataset
from ...data.split_rules import SplitRules
from ...errors import DataError
from ..settings import FitSettings

SEED = 0  # of the rows that are held out: like a split, they do not depend on the seed of the fit


@dataclass(frozen=True)
class Fold:
    """Row numbers of a data set, in the order of the file.

    Args:
        train: that are learnt from.
        valid: that are held out meanwhile; may be empty.
    """

    train: Tensor
    valid: Tensor


def usable_rows(program: Program, dataset: Dataset, part: Literal["train", "valid"]) -> Tensor:
    """Numbers of the rows of a part from which the program can learn."""
    rows = dataset.rows(part)
    return rows[program.usable({name: seen[rows] for name, seen in dataset.observed.items()})]


def hold_out(
    program: Program, dataset: Dataset, settings: FitSettings, log: Callable[[str], None] = lambda line: None
) -> list[Fold]:
    """Divide what are no test rows into rows to learn from and rows to hold out.

    Rows of one `group` (an annotation) are held out together, and by a `time` the latest rows are. Nothing is held out
    of which no row to learn from has the class or the modality: the program could not know it.

    Args:
        program: says which rows are of use.
        dataset: all rows.
        settings: resolved ones.
        log: receives a line about rows that are left out, that cannot be held out, or that hold nothing of a modality.

    Returns:
        One fold, or `settings.folds` of them, or fewer.

    Raises:
        DataError: there is no row to learn from, or none that has a modality, which would be answered with noise.
    """
    parts = []
    for part in ("train", "valid"):
        parts.append(usable_rows(program, dataset, part))
        left_out = len(dataset.rows(part)) - len(parts[-1])
        if left_out:
            log(
                f"{left_out} of {len(dataset.rows(part))} {part} rows lack what {type(program).__name__} learns from: "
                "left out."
            )
    train, valid = parts
    pool = torch.cat(parts).sort().values
    rules = SplitRules.of(dataset).take(pool.numpy())
    if settings.folds and settings.folds > 1:
        dealt = rules.folds(settings.folds, seed=SEED)
        found = [Fold(pool[codes == 0], pool[codes == 2]) for codes in dealt if (codes == 0).any()]
    elif settings.validation is not None:
        share = settings.validation
        split = rules.split(seed=SEED, shares=(1 - share, share, 0.0))
        found = [Fold(pool[split == 0], pool[split == 1])]
    else:
        found = [Fold(train, valid)]
    if dataset.drawn_valid or settings.validation is not None or len(found) > 1:
        found = [_without_the_unknown(program, dataset, fold) for fold in found]
        found = [fold for fold in found if len(fold.valid)] or found[:1]
        held = sum(len(fold.valid) for fold in found)
        if len(found) > 1 and held < len(pool) and rules.times is None:
            log(f"{len(pool) - held} rows are never held out: each alone has a class or a modality.")
    for fold in found:
        _check(program, dataset, fold.train)
    _tell_of_absent(program, dataset, found, log)
    return found


def _without_the_unknown(program: Program, dataset: Dataset, fold: Fold) -> Fold:
    """The same with rows moved to those that are learnt from, of which none has the class or the modality."""
    train, valid = fold.train, fold.valid
    move = torch.zeros(len(valid), dtype=torch.bool)
    for m in program.modalities:
        seen, held = dataset.observed[m.name][train], dataset.observed[m.name][valid]
        if not seen.any():
            move |= held
        elif m.classes and m.size == 1:
            codes = dataset.values[m.name].reshape(len(dataset))
            known = torch.isin(codes[valid], codes[train][seen])
            move |= held & ~known
    if not move.any():
        return fold
    return Fold(torch.cat([train, valid[move]]).sort().values, valid[~move])


def _check(program: Program, dataset: Dataset, train: Tensor) -> None:
    who = type(program).__name__
    if not len(train):
        raise DataError(f"{dataset.name}: no training row has what {who} learns from.")
    for m in program.modalities:
        if not dataset.observed[m.name][train].any():
            raise DataError(
                f"{dataset.name}: {m.name!r} is observed in no row that {who} learns from; leave it out "
                f"(--as {m.name}=ignore), or hide less."
            )


def _tell_of_absent(program: Program, dataset: Dataset, folds: Sequence[Fold], log: Callable[[str], None]) -> None:
    """A line where rows are held out, and none of them has a modality."""
    held = torch.cat([fold.valid for fold in folds])
    absent = [m.name for m in program.modalities if not dataset.observed[m.name][held].any()]
    if len(held) and absent:
        log(f"No held-out row has {', '.join(absent)}: what is held out says nothing of it.")


def unseen_in(program: Program, dataset: Dataset, rows: Tensor) -> dict[str, tuple[str | int, ...]]:
    """Label → its classes that none of the rows has."""
    unseen = {}
    for m in program.modalities:
        if m.classes and m.size == 1:
            seen = rows[dataset.observed[m.name][rows]]
            counts = np.bincount(dataset.values[m.name][seen].flatten().numpy(), minlength=len(m.classes))
            if classes := [c for c, count in zip(m.classes, counts.tolist()) if not count]:
                unseen[m.name] = tuple(classes)
    return unseen
