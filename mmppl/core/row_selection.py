"""Which rows a decoder may leave out: there is room for the rows that count, by what the rows of the data set have.

A recorded step has fixed shapes, so the room for the rows of a batch that count is fixed, too: it is what nearly all
batches need, by the normal law. A batch that needs more reports that, and is computed without leaving anything out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

MARGIN = 5.0  # standard deviations of the number of rows that count, beyond its mean
WORTH = 0.9  # share of the rows; where more have to be decoded, picking them costs more than it saves
PICKING = 3e6  # multiplications that take as long as picking rows and putting their densities back in place, and
GATHERING = 30  # multiplications that take as long as copying one number of a picked row; both measured on a CPU
MAX_PATTERNS = 4096  # distinct patterns


@dataclass(frozen=True)
class MissingnessPatterns:
    """Which modalities the rows of a data set have, as far as it decides how many rows of a batch count.

    Args:
        names: names of everything that may be observed.
        table: (P, len(names)) bool, the distinct patterns.
        share: (P,) share of the rows that have each pattern.
        counts: (P, len(names)) how often a row of that pattern is scored for each name.
        subsets: the number of subsets in which rows are counted; None: not under subsets.
        overflow: receives a bool tensor for every choice made: whether the batch needed more room.
    """

    names: tuple[str, ...]
    table: np.ndarray
    share: np.ndarray
    counts: np.ndarray
    subsets: int | None = None
    overflow: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, observed: Mapping[str, Tensor]) -> MissingnessPatterns | None:
        """Find the patterns of a data set.

        Args:
            observed: name → (N,) bool.

        Returns:
            The patterns; None where there are too many to be of use.
        """
        table, count = torch.stack(list(observed.values()), -1).unique(dim=0, return_counts=True)
        if len(table) > MAX_PATTERNS:
            return None
        rows = table.numpy()
        return cls(tuple(observed), rows, count.numpy() / int(count.sum()), rows.astype(np.int64))

    def under(
        self, subsets: np.ndarray, encoded: Sequence[str], scored: str, *, cut: bool = False, drawn: int = 0
    ) -> MissingnessPatterns:
        """Return the same patterns when each row is counted under subsets of the encoded names.

        Args:
            subsets: (S, M) bool.
            encoded: the M names.
            scored: whether an encoded name is scored in all subsets ("observed"), only in those that hold it ("seen"),
                or only in the others ("unseen").
            cut: whether subsets are cut down to what a row has, and count where anything is left; else a row's own
                count.
            drawn: how many more subsets there are that differ from step to step; each may score all that a row has.

        Returns:
            Patterns with other `counts`.
        """
        columns = tuple(self.names.index(name) for name in encoded)
        tables = (self.table.tobytes(), self.table.shape, subsets.tobytes(), subsets.shape)
        counts = _counts(*tables, columns, scored, cut) + drawn * self.table
        return replace(self, counts=counts, subsets=len(subsets) + drawn)

    def requiring(self, names: Sequence[str]) -> MissingnessPatterns:
        """Return the same patterns when only rows that have all of these names count."""
        columns = [self.names.index(name) for name in names]
        return replace(self, counts=self.counts * self.table[:, columns].all(-1, keepdims=True))

    def room(self, name: str, rows: int) -> int:
        """Compute how many (subset, row) pairs there is to be room for.

        Args:
            name: name of the modality that is scored.
            rows: the number of rows of a batch.

        Returns:
            A multiple of 8, at least 8.
        """
        count = self.counts[:, self.names.index(name)]
        mean = float(self.share @ count)
        sd = math.sqrt(max(0.0, float(self.share @ count**2) - mean**2))
        room = 8 * max(1, math.ceil((rows * mean + MARGIN * math.sqrt(rows) * sd) / 8))  # some networks refuse 0 rows
        return room + 8 * (room == rows)  # so that no shape can be mistaken for the whole batch's

    def slots(self, name: str, counted: Tensor, most: int, weight: int, size: int) -> Tensor | None:
        """Choose the rows that count, and as many others after them as there is room for.

        Args:
            name: name of the modality that is scored.
            counted: (..., B) bool, where it is scored.
            most: how many rows would be decoded otherwise.
            weight: how many numbers the decoder holds.
            size: how many numbers the modality has in a row.

        Returns:
            (room,) positions in the flattened mask `counted`, those that count first and in order; None where picking
            them does not pay.
        """
        if counted.shape[:-1] != (() if self.subsets is None else (self.subsets,)):
            return None
        room = self.room(name, counted.shape[-1])
        if room > WORTH * most or (most - room) * weight < PICKING + GATHERING * room * size:
            return None
        self.overflow.append(counted.sum() > room)
        return counted.flatten().sort(descending=True, stable=True).indices[:room]


@lru_cache(16)
def _counts(
    table: bytes,
    size: tuple[int, int],
    subsets: bytes,
    shape: tuple[int, int],
    columns: tuple[int, ...],
    scored: str,
    cut: bool,
) -> np.ndarray:
    """`MissingnessPatterns.counts` under subsets, from the bytes of both tables."""
    has = np.frombuffer(table, bool).reshape(size)
    held, members = has[:, columns].astype(np.int64), np.frombuffer(subsets, bool).reshape(shape).astype(np.int64)
    kept = held @ members.T  # (P, S): how much of a subset a pattern has
    own = (kept > 0) & (cut | (kept == members.sum(-1)))
    counts = own.sum(-1, keepdims=True) * has
    if scored != "observed":
        counts[:, columns] = (own @ (members if scored == "seen" else 1 - members)) * held
    return counts


class Selected(TorchDistribution):
    """A likelihood of one part of a batch, as the distribution of the whole. The rest scores 0.

    Args:
        likelihood: likelihood of the part.
        places: positions of the part in the batch.
        lead: the batch shape (..., B).
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    masks: ClassVar[bool] = True

    def __init__(self, likelihood: Any, places: Tensor, lead: torch.Size) -> None:
        self.likelihood, self.places = likelihood, places
        super().__init__(lead, likelihood.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        return self.likelihood.support

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"only scored rows were decoded: no {name}; decode z itself, or ask with `batch.wanting`.")

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Selected:
        if tuple(batch_shape) != self.batch_shape:
            raise ValueError(f"{type(self).__name__}: has its batch shape already.")
        return self

    @classmethod
    def taken(cls, z: Tensor, places: Tensor) -> Tensor:
        """Return the part of (..., B, D) latents at these places."""
        raise NotImplementedError

    @classmethod
    def rows_of(cls, value: Tensor, places: Tensor, lead: torch.Size) -> Tensor:
        """Return what the part needs of (B, ...) values."""
        raise NotImplementedError

    def _of_part(self, value: Tensor, mask: Tensor | None) -> Tensor:
        """The part's log-densities. Where the likelihood takes a mask, it does no work for masked rows."""
        return self.likelihood.log_prob(value, mask=mask) if self.likelihood.masks else self.likelihood.log_prob(value)


class SelectedRows(Selected):
    """Some rows: batch shape (R,), at `places` (R,) of the flattened batch shape."""

    @classmethod
    def taken(cls, z: Tensor, places: Tensor) -> Tensor:
        return z.flatten(0, -2).index_select(0, places)

    @classmethod
    def rows_of(cls, value: Tensor, places: Tensor, lead: torch.Size) -> Tensor:
        return value.index_select(0, places % lead[-1])

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """ln p in nats, 0 for the rows that were not selected.

        Args:
            value: (B, *shape).
            mask: (..., B) bool, where the density is wanted; None: everywhere.

        Returns:
            (..., B) nats.
        """
        x = self.rows_of(value, self.places, self.batch_shape)
        kept = None if mask is None else mask.expand(self.batch_shape).flatten()[self.places]
        of_rows = self._of_part(x, kept)
        return of_rows.new_zeros(self.batch_shape.numel()).scatter(0, self.places, of_rows).reshape(self.batch_shape)


class SelectedSubsets(Selected):
    """Some subsets with all rows: batch shape (P, B), at `places` (P,) of the subsets."""

    @classmethod
    def taken(cls, z: Tensor, places: Tensor) -> Tensor:
        return z.index_select(0, places)

    @classmethod
    def rows_of(cls, value: Tensor, places: Tensor, lead: torch.Size) -> Tensor:
        return value

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """ln p in nats, 0 in the subsets that were not selected.

        Args:
            value: (B, *shape).
            mask: (S, B) bool, where the density is wanted; None: everywhere.

        Returns:
            (S, B) nats.
        """
        kept = None if mask is None else mask.expand(self.batch_shape).index_select(0, self.places)
        of_subsets = self._of_part(value, kept)
        return of_subsets.new_zeros(self.batch_shape).index_copy(0, self.places, of_subsets)


class Selection(NamedTuple):
    """A part of a batch: of which kind it is, and where.

    Args:
        kind: whether it is rows (and subsets), or whole subsets.
        places: positions of the part in the batch.
        lead: the batch shape (..., B).
    """

    kind: type[Selected]
    places: Tensor
    lead: torch.Size

    def of(self, z: Tensor) -> Tensor:
        """Return the part of (..., B, D) latents."""
        return self.kind.taken(z, self.places)

    def of_rows(self, value: Tensor) -> Tensor:
        """Return what the part needs of (B, ...) values."""
        return self.kind.rows_of(value, self.places, self.lead)

    def spread(self, likelihood: Any) -> Selected:
        """Return a likelihood of the part as the distribution of the whole."""
        return self.kind(likelihood, self.places, self.lead)
