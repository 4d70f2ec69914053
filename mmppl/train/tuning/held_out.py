"""The rows that decide between settings: the validation rows, or folds of all rows that are no test rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...data.dataset import Dataset
from ...data.split_rules import LEFT_OUT, SplitRules
from ...errors import UsageError
from ..budget.rule import FEW, FOLDS

SEED = 0  # of the division into folds, which like a split does not depend on the seed of the fits
TRAIN, VALID, TEST = 0, 1, 2  # codes of the parts


@dataclass(frozen=True)
class HeldOut:
    """Data sets that trials are fitted and scored on.

    Args:
        datasets: one, or one for each fold. Their test rows are the rows that score, of which their fits see nothing;
            the test rows of the source are in none of them.
        rows: the number of rows that score, in all of them.
    """

    datasets: tuple[Dataset, ...]
    rows: int

    @property
    def told(self) -> str:
        """The rows in words."""
        folds = len(self.datasets)
        return f"{self.rows:,} validation rows" if folds == 1 else f"{self.rows:,} training rows in {folds} folds"


def hold_out(whole: Dataset, read_parts: Callable[[np.ndarray], Dataset], folds: int | None) -> HeldOut:
    """Choose the rows that score trials.

    Args:
        whole: the data with their own parts.
        read_parts: reads the same rows again with other parts, so that scales are learnt from the train rows of these.
        folds: k, of the rows that are no test rows; 1: the validation rows. None: 5 below 200 rows and where there are
            no validation rows, unless the data bring some; else 1.

    Returns:
        The data sets.

    Raises:
        UsageError: there are too few rows for so many folds, or no validation rows.
    """
    valid, pool = whole.rows("valid").numpy(), np.flatnonzero(whole.split != TEST)
    brought = len(valid) > 0 and not whole.drawn_valid
    if folds is None:
        folds = 1 if brought or (len(valid) > 0 and len(pool) >= FEW) else min(FOLDS, len(pool))
    if folds > 1:
        rules = SplitRules.of(whole).take(pool)
        dealt = rules.folds(folds, seed=SEED)
        rules.check_folds(dealt)
        splits = []
        for codes in dealt:
            split = np.full(len(whole), LEFT_OUT, np.int8)
            split[pool] = codes
            splits.append(split)
    elif len(valid):
        splits = [np.select([whole.split == TRAIN, whole.split == VALID], [TRAIN, TEST], LEFT_OUT).astype(np.int8)]
    else:
        raise UsageError(f"tune: {whole.name} has no validation rows that could decide; name --folds 5.")
    datasets = tuple(read_parts(split) for split in splits)
    return HeldOut(datasets, sum(int((split == TEST).sum()) for split in splits))
