"""A source that is read in blocks of rows: what arrays are in it, and the blocks, one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

BLOCK = 2**22  # elements of a block


@dataclass(frozen=True)
class Column:
    """An array of a source, before its rows are read.

    Args:
        shape: (N, *shape).
        dtype: its type.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """The bytes that it takes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Contents:
    """What is in a source.

    Args:
        columns: name → array; a mask `mask_<name>` is one of them.
        features: name → the names of its columns, for arrays that have them.
        notes: lines about what was left out.
    """

    columns: Mapping[str, Column]
    features: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def size(self) -> int:
        """The bytes that all arrays take."""
        return sum(column.size for column in self.columns.values())


class Source(Protocol):
    """A source of rows, with what it reads beforehand and what it reads in one pass.

    Args:
        left_out: the names of arrays that it has and that are not read; known after `contents`.
    """

    left_out: set[str]

    def contents(self) -> Contents:
        """Say what is in it.

        Raises:
            DataError: it cannot be read.
        """

    def blocks(self, contents: Contents) -> Iterator[Mapping[str, np.ndarray]]:
        """Go through the rows once.

        Args:
            contents: what `contents` has returned.

        Yields:
            name → the next rows of that array; of some arrays, or of all.

        Raises:
            DataError: a value is wrong; the message names the place.
            OtherType: an array needs another type than `contents` said.
        """


class OtherType(Exception):
    """The rows of an array need another type than was known before they were read: `contents` now says which, and the
    pass begins anew."""


def loaded(source: Source) -> tuple[dict[str, np.ndarray], Contents]:
    """Read a source into memory.

    Args:
        source: the source.

    Returns:
        Its arrays by name, and its contents.

    Raises:
        DataError: it cannot be read.
    """
    while True:
        contents = source.contents()
        arrays = {name: np.empty(column.shape, column.dtype) for name, column in contents.columns.items()}
        done = dict.fromkeys(arrays, 0)
        try:
            for block in source.blocks(contents):
                for name, part in block.items():
                    arrays[name][done[name] : done[name] + len(part)] = part
                    done[name] += len(part)
        except OtherType:
            continue
        return arrays, contents
