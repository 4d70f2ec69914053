"""What the values of an array are like: what likelihoods look at to say whether it is for them."""

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


@dataclass(frozen=True)
class ArrayFacts:
    """An array of N rows, looked at only as far as somebody asks.

    Args:
        name: of the modality.
        shape: of one row.
        dtype: of the array.
        kind: numpy's letter of the values' kind: "U" strings, "b" bool, "i" or "u" integers, "f" floats; "i" also for
            whole numbers that are floats only because NaN says that some are missing.
        named_label: whether the name is that of a label ("y" or "label…").
        parts: the observed values again and again, some rows at a time, (n, *shape) each.
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
        """Whether it is a single value a row that is named as a label."""
        return self.named_label and self.one_column

    @cached_property
    def whole(self) -> bool:
        """Whether all numbers are whole."""
        return all((np.mod(part, 1) == 0).all() for part in self.parts())

    @cached_property
    def in_unit(self) -> bool:
        """Whether all numbers lie in [0, 1]."""
        return all(((part >= 0) & (part <= 1)).all() for part in self.parts())

    @cached_property
    def nonnegative(self) -> bool:
        """Whether no number is below 0."""
        return all((part >= 0).all() for part in self.parts())

    @cached_property
    def few(self) -> bool:
        """Whether the distinct values are so few, 20 and half of the rows at most, that they may be classes."""
        values = np.concatenate(list(self.parts()))
        return len(np.unique(values)) <= min(FEW, max(2, len(values) // 2))


class Claim(NamedTuple):
    """A likelihood's word that an array is for it, unless another claims it more strongly.

    Args:
        strength: the strongest claim wins. Of those that come with mmppl, "normal" claims every number with 0,
            "bernoulli" what lies in [0, 1] by its type with 1, "categorical" what looks like classes with 2.
        modality: the schema that the array then has, but for classes and the numbers of its scaling.
    """

    strength: int
    modality: Modality
