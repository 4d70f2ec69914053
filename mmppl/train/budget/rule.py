"""Steps, batches and folds of a fit that names none, as a function of rows and parameters alone: the same on every
machine.
"""

from __future__ import annotations

import dataclasses
import math

from ...core.program import Program
from ...data.dataset import Dataset
from ...errors import UsageError
from ..settings import FitSettings
from .held_out import usable_rows

PASSES, OF = 150, 128  # the training rows are passed so often, in steps of so many rows; small data more often:
WORK, ROWS = 7e9, 100  # until rows of a batch × parameters × steps are so many, times the squared hundreds of rows, or
ENOUGH = 2000  # so many steps
LEAST, MOST = 500, 10_000  # steps
BATCHES, SMALLEST, LARGEST = 8, 8, 128  # of a pass over the training rows, and the rows that a batch has then
FOLDS, FEW = 5, 200  # folds below so many rows, where the work allows them the least number of steps;
SHARE = 1 / FOLDS  # else one of them
ROUNDS, ROUND = 60, 20  # a fit in steps is validated so often, but not after fewer steps
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
    if not program.holds_out and not brought:
        settings = dataclasses.replace(settings, validation=0.0)
    rows = train + valid
    none = settings.validation == 0 or (settings.validation is None and not valid and not dataset.drawn_valid)
    in_steps = settings.epochs is None
    refit = settings.refit
    if refit is None:
        refit = in_steps and not brought and not none
    folds, validation, numbers = settings.folds, settings.validation, parameters(program)
    if folds is None:
        folds = 1
        if in_steps and refit and not brought and validation is None and rows < FEW:
            learnt = rows - -(-rows // FOLDS)
            batch = settings.batch_size or batch_size(learnt)
            affordable = work(learnt, batch, numbers, FOLDS + 1)
            folds, validation = (FOLDS, None) if affordable >= min(settings.steps or LEAST, LEAST) else (1, SHARE)
    if none or rows < 2 or (folds == 1 and validation is None and not valid):
        folds, refit = 1, False
    folds = max(1, min(folds, rows))
    settings = dataclasses.replace(settings, validation=validation, folds=folds, refit=refit)
    stages = program.stages()
    fixed = [stage.epochs for stage in stages if stage.epochs is not None]
    if in_steps and stages and len(fixed) == len(stages):  # they say how long they are, such as closed forms
        settings, in_steps = dataclasses.replace(settings, steps=None, epochs=sum(fixed)), False
    if not in_steps:
        batch = settings.batch_size or EPOCHS_BATCH
        return dataclasses.replace(settings, batch_size=batch)
    if folds > 1 or validation is not None:
        train = rows - (-(-rows // folds) if folds > 1 else round((validation or 0.0) * rows))
    batch = settings.batch_size or batch_size(train)
    steps = settings.steps or gradient_steps(train, batch, numbers, folds + bool(refit))
    return dataclasses.replace(settings, steps=steps, batch_size=batch)


def gradient_steps(rows: int, batch: int, parameters: int, trainings: int = 1) -> int:
    """Gradient steps at most: 150 passes of the rows in batches of 128; small data more, up to 2,000 steps, as the work
    allows; at least 500 and at most 10,000.

    Args:
        rows: that are trained on.
        batch: rows per step.
        parameters: numbers that move.
        trainings: that the work is divided among: folds, and a refit.

    Example:
        >>> [gradient_steps(36, 8, 5_000, 6), gradient_steps(73, 8, 900_000, 2), gradient_steps(3_500, 128, 300_000)]
        [2000, 500, 4102]
    """
    small = min(work(rows, batch, parameters, trainings), ENOUGH)
    return round(min(max(small, PASSES * rows / OF, LEAST), MOST))


def work(rows: int, batch: int, parameters: int, trainings: int) -> float:
    """Steps of each of some trainings that together are the work of small data; see `gradient_steps`."""
    return WORK * max(rows / ROWS, 1) ** 2 / (max(min(batch, rows), 1) * max(parameters, 1) * trainings)


def batch_size(rows: int) -> int:
    """Rows per step: the power of 2 that is nearest to an eighth of the rows, from 8 to 128.

    Example:
        >>> [batch_size(rows) for rows in (36, 150, 560, 5_000)]
        [8, 16, 64, 128]
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
