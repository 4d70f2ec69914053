"""By which rules rows are split: strata, rows that belong together, and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .splits import GROUP, SHARES, strata_of, stratified_folds, stratified_split, with_valid
from .time_order import TIME, by_time, order_of

if TYPE_CHECKING:
    from .dataset import Dataset

LEFT_OUT = -1  # the code of rows that a fold neither learns from nor tests


@dataclass(frozen=True)
class SplitRules:
    """What a split of N rows has to respect. Time comes before strata: by time, what is tested is later.

    Args:
        strata: (N,) integers, of which every part has the same shares.
        units: (N,) what comes into one part as a whole, such as the rows of a person; None: every row stands alone.
        times: (N,) numbers or dates, by whose order rows are split; None: at random.

    Example:
        >>> rules = SplitRules(np.zeros(6, int), times=np.array([5, 3, 1, 2, 4, 6]))
        >>> [fold.tolist() for fold in rules.folds(2, seed=0)]  # 0 is learnt from, 2 tested, −1 left out
        [[-1, 2, 0, 0, 2, -1], [2, 0, 0, 0, 0, 2]]
    """

    strata: np.ndarray
    units: np.ndarray | None = None
    times: np.ndarray | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> SplitRules:
        """Take the rules of a data set: its labels, and its annotations `group` and `time`."""
        return cls.with_annotations(strata_of(dataset), dataset.annotations)

    @classmethod
    def with_annotations(cls, strata: np.ndarray, annotations: Mapping[str, np.ndarray]) -> SplitRules:
        """Add the annotations `group` and `time`, where they are there, to strata."""
        return cls(strata, annotations.get(GROUP), annotations.get(TIME))

    def take(self, rows: np.ndarray) -> SplitRules:
        """Return the rules for some of the rows, (n,) row numbers; without a time if all of them have the same."""
        units, times = (None if of is None else of[rows] for of in (self.units, self.times))
        return SplitRules(self.strata[rows], units, times if times is not None and len(np.unique(times)) > 1 else None)

    def split(self, *, seed: int, shares: Sequence[float] = SHARES) -> np.ndarray:
        """Split the rows into train, valid and test: see `stratified_split`, and `by_time` where there is a time.

        Args:
            seed: the seed of the draw; a split by time draws nothing.
            shares: of the parts, which sum to 1.

        Returns:
            (N,) int8 codes of the parts.
        """
        if self.times is None:
            return stratified_split(self.strata, seed=seed, shares=shares, units=self.units)
        used = [code for code, share in enumerate(shares) if share > 0]
        parts = by_time(order_of(self.times, self.units), [shares[code] for code in used])
        return np.array(used, np.int8)[parts]

    def with_valid(self, split: np.ndarray, *, seed: int) -> np.ndarray:
        """Turn a tenth of the train rows, by time the latest, into valid rows, unless the split has some already.

        Args:
            split: (N,) int8 codes of the parts.
            seed: the seed of the draw.

        Returns:
            (N,) int8 codes; `split` itself if it has valid rows.
        """
        train = np.flatnonzero(split == 0)
        if self.times is None or (split == 1).any() or len(np.unique(self.times[train])) < 2:
            return with_valid(split, self.strata, seed=seed, units=self.units)
        split = split.copy()
        split[train] = self.take(train).split(seed=seed, shares=(0.9, 0.1, 0.0))
        return split

    def folds(self, number: int, *, seed: int) -> list[np.ndarray]:
        """Divide the rows into folds, each of which is tested once; by time, the later ones on all that is older.

        Args:
            number: k. By time, rows are cut into k + 1 stretches: the first is learnt from only, and each other is
                tested by what was learnt from all before it (an expanding window); what is later is left out.
            seed: the seed of the draw; a division by time draws nothing.

        Returns:
            k arrays (N,) of int8 codes: 0 to learn from, 2 to test, `LEFT_OUT`. Of too few rows, groups or times some
            learn from nothing or test nothing (`check_folds`).
        """
        if self.times is None:
            dealt = stratified_folds(self.strata, number, seed=seed, units=self.units)
            found = [np.where(dealt == i, 2, 0).astype(np.int8) for i in range(number)]
        else:
            stretch = by_time(order_of(self.times, self.units), [1 / (number + 1)] * (number + 1))
            found = [
                np.select([stretch <= i, stretch == i + 1], [0, 2], LEFT_OUT).astype(np.int8) for i in range(number)
            ]
        return found

    def check_folds(self, folds: Sequence[np.ndarray]) -> None:
        """Check that every fold learns from something and tests something.

        Args:
            folds: as `folds` returns them.

        Raises:
            UsageError: one does not, or there is one fold only.
        """
        if len(folds) > 1 and all((codes == 0).any() and (codes == 2).any() for codes in folds):
            return
        what = "rows" if self.units is None else "groups"
        what = "different times" if self.times is not None else what
        raise UsageError(
            f"{len(folds)} folds: too few {what} for that; give at least 2 folds, and not more than {what}."
        )
