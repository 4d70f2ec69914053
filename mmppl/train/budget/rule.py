"""Steps, batches and folds of a fit that names none, as a function of rows and parameters alone: the same on every
machine.

The figures behind the constants are in RESULTS.md, "Budget".
"""

from __future__ import annotations

import dataclasses
import math

from ...core.program import Program
from ...data.dataset import Dataset
from ...errors import UsageError
from ..settings import FitSettings
from .held_out import usable_rows

PASSES, OF = 100, 128  # the training rows are passed so often, in steps of so many rows,
LEAST, MOST = 2000, 10_000  # but no fewer and no more steps are taken;
WORK = 3e10  # small data take fewer, with many parameters: rows of a batch × parameters × steps at most,
AT_LEAST = 600  # and no fewer steps than these
BATCHES = 8  # of a pass over the training rows, at least,
SMALLEST, LARGEST = 16, 128  # while a batch has so many rows
FOLDS, FEW = 5, 200  # folds below so many rows
ROUNDS = 60  # a fit in steps is validated so often
ROUND = 10  # steps between two validations, at least
PATIENCE = 5  # rounds without a better held-out loss,
HALF = 0.5  # and this share of the rounds up to the best, end the search where a refit follows
EPOCHS_BATCH = 128  # rows per step where epochs are named


def resolve(settings: FitSettings, program: Program, dataset: Dataset) -> FitSettings:
    """Fill in what the settings leave open.

    Args:
        settings: as given; resolved ones stay as they are.
        program: with its networks.
        dataset: with its parts.

    Returns:
        Settings in which `batch_size`, `folds`, `refit`, and one of `epochs` and `steps`, are set.

    Raises:
        UsageError: validation rows are asked for beside those that the data bring.
    """
    train, valid = (len(usable_rows(program, dataset, part)) for part in ("train", "valid"))
    brought = valid > 0 and not dataset.drawn_valid
    if settings.validation is not None and brought:
        raise UsageError(
            f"validation {settings.validation:g}: {dataset.name} brings {valid:,} validation rows; leave it out, or "
            "mark them as train rows."
        )
    rows = train + valid
    none = settings.validation == 0 or (settings.validation is None and not valid)
    in_steps = settings.epochs is None
    refit = settings.refit
    if refit is None:
        refit = in_steps and not brought and not none
    folds = settings.folds
    if folds is None:
        folds = FOLDS if in_steps and refit and not brought and settings.validation is None and rows < FEW else 1
    if none or rows < 2:
        folds, refit = 1, False
    folds = min(folds, rows)
    if not in_steps:
        batch = settings.batch_size or EPOCHS_BATCH
        return dataclasses.replace(settings, batch_size=batch, folds=folds, refit=refit)
    if folds > 1:
        train = rows - -(-rows // folds)
    batch = settings.batch_size or batch_size(train)
    steps = settings.steps or gradient_steps(train, min(batch, max(train, 1)), parameters(program))
    return dataclasses.replace(settings, steps=steps, batch_size=batch, folds=folds, refit=refit)


def gradient_steps(rows: int, batch: int, parameters: int) -> int:
    """Gradient steps at most: 100 passes of the rows in batches of 128, but at least 2,000 and at most 10,000 steps;
    where 2,000 would be more than the passes, and the networks are large, fewer, down to 600.

    Args:
        rows: that are trained on.
        batch: rows per step.
        parameters: numbers that move.

    Example:
        >>> gradient_steps(36, 16, 5_000), gradient_steps(75, 16, 900_000), gradient_steps(3_500, 128, 300_000)
        (2000, 2000, 2734)
    """
    passes = PASSES * rows / OF
    if passes >= LEAST:
        return round(min(passes, MOST))
    return round(min(LEAST, max(WORK / max(batch * parameters, 1), passes, AT_LEAST)))


def batch_size(rows: int) -> int:
    """Rows per step: the power of 2 that is nearest to an eighth of the rows, from 16 to 128.

    Example:
        >>> [batch_size(rows) for rows in (36, 150, 560, 5_000)]
        [16, 16, 64, 128]
    """
    return int(min(max(2 ** round(math.log2(max(rows, 1) / BATCHES)), SMALLEST), LARGEST))


def round_steps(steps: int) -> int:
    """Steps between two validations of a fit of so many steps."""
    return max(ROUND, -(-steps // ROUNDS))


def patience_at(best: int) -> int:
    """Rounds without a better held-out loss that end the search for the number of steps, the best so far being the
    round `best` of the stage. A late best may be followed by a later one: the rounds waited grow with it.
    """
    return max(PATIENCE, math.ceil(HALF * best))


def parameters(program: Program) -> int:
    """Numbers that training may move."""
    return sum(p.numel() for p in program.parameters() if p.requires_grad)


def annealed(best: int, steps: int, schedule: str) -> int:
    """Steps of a fit whose learning rates sum to those of the first `best` of `steps` steps.

    A cosine schedule that is left after `best` steps has not annealed. What overfits is how far the weights have moved,
    for which the sum of the learning rates stands (exact for gradient flow), so a whole cosine of the same sum follows:
    Σ = lr (best + steps/π · sin(π best/steps)) / 2 against lr · steps'/2.

    Args:
        best: the step whose weights served held-out rows best.
        steps: that the schedule of that fit ran over.
        schedule: "cosine" or "constant".

    Example:
        >>> annealed(100, 2000, "cosine"), annealed(2000, 2000, "cosine"), annealed(100, 2000, "constant")
        (200, 2000, 100)
    """
    if schedule == "constant":
        return best
    return round(best + steps / math.pi * math.sin(math.pi * best / steps))
