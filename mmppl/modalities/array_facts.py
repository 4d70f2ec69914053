"""Facts about the values of an array, by which likelihoods decide whether the array is for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from .modality import Modality

FEW = 20  # distinct whole numbers in one column, up to which they are classes
APART = 10  # the least that the numbers beside zeros may be, for the zeros to stand apart
SAMPLED = 2**16  # numbers of a part that are looked at where all would take long
SPARSELY = 16  # every so many of them where a glance is enough
GREY = 0.25  # share of exact zeros and ones, from which numbers in [0, 1] are grey values or bits


@dataclass(frozen=True)
class ArrayFacts:
    """Facts about an array of N rows. Those that read the whole array are computed only when they are asked for.

    Args:
        name: name of the modality.
        shape: shape of one row.
        dtype: type of the array.
        kind: numpy's letter for the kind of the values: "U" for strings, "b" for bool, "i" or "u" for integers, "f" for
            floats. It is "i", too, for whole numbers that are floats only because NaN marks missing ones.
        named_label: whether the name is that of a label ("y" or "label…").
        parts: returns an iterator over the observed values, some rows at a time, (n, *shape) each.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    kind: str
    named_label: bool
    parts: Callable[[], Iterator[np.ndarray]]

    @property
    def one_column(self) -> bool:
        """Whether a row is a single value."""
        return math.prod(self.shape) == 1

    @property
    def is_label(self) -> bool:
        """Whether a row is a single value and the name is that of a label."""
        return self.named_label and self.one_column

    @cached_property
    def whole(self) -> bool:
        """Whether all numbers are whole numbers."""
        return all((np.mod(part, 1) == 0).all() for part in self.parts())

    @cached_property
    def in_unit(self) -> bool:
        """Whether all numbers lie in [0, 1]."""
        return all(((part >= 0) & (part <= 1)).all() for part in self.parts())

    @cached_property
    def bits(self) -> bool:
        """Whether all numbers are 0 or 1, and some are 1."""
        found = [((part == 1).any(), ((part == 0) | (part == 1)).all()) for part in self.parts()]
        return all(both for _, both in found) and any(one for one, _ in found)

    @cached_property
    def proportions(self) -> bool:
        """Whether numbers in [0, 1] are proportions (methylation, rates, scaled columns) and no grey values or bits: no
        image, and less than a quarter of them are exactly 0 or 1.
        """
        if len(self.shape) > 1:
            return False
        ends, numbers = 0, 0
        for part in self.parts():
            ends, numbers = ends + int(((part == 0) | (part == 1)).sum()), numbers + part.size
        return ends < GREY * numbers

    @cached_property
    def nonnegative(self) -> bool:
        """Whether no number is negative."""
        return all((part >= 0).all() for part in self.parts())

    @cached_property
    def distinct(self) -> np.ndarray:
        """The distinct values, sorted."""
        return np.unique(np.concatenate([np.unique(part) for part in self.parts()]))

    @property
    def codes(self) -> bool:
        """Whether whole numbers are codes of classes, for a column that is named as a label: at most 20 different ones,
        or all from 0 or 1 on, and each at least five times on average. Years and scores are numbers.
        """
        found = self.distinct
        if len(found) <= FEW:
            return True
        gapless = found[0] in (0, 1) and found[-1] - found[0] == len(found) - 1
        return bool(gapless and self.name != "y" and 5 * len(found) <= sum(len(part) for part in self.parts()))

    @cached_property
    def zeros_apart(self) -> bool:
        """Whether zeros stand apart from counts that are large everywhere else, such as intensities where a zero says
        that nothing was found: ln(1 + x) of them is no single hump.
        """
        low: float = np.inf
        sample: list[np.ndarray] = []
        for part in self.parts():
            few = part.ravel()[:SAMPLED:SPARSELY]
            if ((few > 0) & (few < APART)).any():
                return False  # the usual counts
            positive = part[part > 0]
            if len(positive):
                low, sample = min(low, float(positive.min())), [*sample, positive[:SAMPLED]]
        if low < APART or not sample or all((part != 0).all() for part in self.parts()):
            return False
        high = float(np.quantile(np.concatenate(sample), 0.99))
        return bool(2 * np.log1p(low) > np.log1p(high))

    @cached_property
    def few(self) -> bool:
        """Whether the distinct values are few enough to be classes: at most 20, and at most half as many as rows."""
        if any(len(np.unique(part[:SAMPLED:SPARSELY])) > FEW for part in self.parts()):
            return False
        return len(self.distinct) <= min(FEW, max(2, sum(len(part) for part in self.parts()) // 2))


class Claim(NamedTuple):
    """A likelihood's statement that an array is for it. The strongest claim wins.

    Args:
        strength: how strong the claim is. Of the built-in likelihoods, "normal" claims every number with 0, "bernoulli"
            what lies in [0, 1] by its type with 1, and "categorical" what looks like classes with 2.
        modality: the schema that the array then gets, without classes and without the numbers of its scaling.
    """

    strength: int
    modality: Modality
