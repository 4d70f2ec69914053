"""Which rows a decoder may leave out: room for those that count, sized from what the rows of the data set have.

A recorded step has fixed shapes, so the room for the rows of a batch that count is fixed, too: what all batches but one
in millions need. A batch that needs more says so, and is computed without leaving anything out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

MARGIN = 5.0  # standard deviations of the number of rows that count, beyond its mean
WORTH = 0.9  # of the rows: with more to decode than that, picking them costs more than it saves
MOST = 4096  # distinct patterns


@dataclass(frozen=True)
class Patterns:
    """What the rows of a data set have, as far as it decides how many of a batch count.

    Args:
        names: of everything that may be observed.
        table: (P, len(names)) bool, the distinct patterns.
        share: (P,) of the rows.
        counts: (P, len(names)) how often a row of that pattern is scored for each name.
        overflow: receives, for every choice made, a bool tensor: the batch needed more room.
    """

    names: tuple[str, ...]
    table: np.ndarray
    share: np.ndarray
    counts: np.ndarray
    overflow: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, observed: Mapping[str, Tensor]) -> Patterns | None:
        """Those of a data set's (N,) masks; None where there are too many to be of use."""
        table, count = torch.stack(list(observed.values()), -1).unique(dim=0, return_counts=True)
        if len(table) > MOST:
            return None
        rows = table.numpy()
        return cls(tuple(observed), rows, count.numpy() / int(count.sum()), rows.astype(np.int64))

    def under(self, subsets: np.ndarray, encoded: Sequence[str], only_seen: bool) -> Patterns:
        """The same when each row is counted under all of its own subsets, (S, M) bool over the encoded names.

        Args: only_seen: an encoded name is scored in the subsets that hold it, else in all.
        """
        columns = [self.names.index(name) for name in encoded]
        own = (self.table[:, None, columns] | ~subsets).all(-1) & subsets.any(-1)  # (P, S)
        counts = own.sum(-1, keepdims=True) * self.table
        if only_seen:
            counts[:, columns] = (own[:, :, None] & subsets).sum(1)
        return replace(self, counts=counts)

    def requiring(self, names: Sequence[str]) -> Patterns:
        """The same when only rows that have all of `names` count."""
        columns = [self.names.index(name) for name in names]
        return replace(self, counts=self.counts * self.table[:, columns].all(-1, keepdims=True))

    def room(self, name: str, rows: int) -> int:
        """For how many (subset, row) pairs of a batch of `rows` rows there is to be room."""
        count = self.counts[:, self.names.index(name)]
        mean = float(self.share @ count)
        sd = math.sqrt(max(0.0, float(self.share @ count**2) - mean**2))
        return 8 * math.ceil((rows * mean + MARGIN * math.sqrt(rows) * sd) / 8)

    def slots(self, name: str, counted: Tensor) -> Tensor | None:
        """Positions in the flattened (..., B) mask `counted` of the rows that count, first of all and in order, as many
        as there is room for; None where picking them is not worth it."""
        room = self.room(name, counted.shape[-1])
        if room > WORTH * counted.numel():
            return None
        self.overflow.append(counted.sum() > room)
        return counted.flatten().sort(descending=True, stable=True).indices[:room]


class Packed(TorchDistribution):
    """A likelihood of some rows of a batch, as the distribution of the whole batch; the other rows score 0.

    Args:
        likelihood: batch shape (R,).
        slots: (R,) positions in the flattened batch shape.
        lead: the batch shape (..., B).
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    masks: ClassVar[bool] = True

    def __init__(self, likelihood: Any, slots: Tensor, lead: torch.Size) -> None:
        self.likelihood, self.slots = likelihood, slots
        super().__init__(lead, likelihood.event_shape, validate_args=False)

    @property
    def support(self) -> Any:  # type: ignore[override]
        return self.likelihood.support

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, *shape) → (..., B) nats."""
        x = value.index_select(0, self.slots % self.batch_shape[-1])
        if self.likelihood.masks:
            of_rows = self.likelihood.log_prob(x, mask=None if mask is None else mask.flatten()[self.slots])
        else:
            of_rows = self.likelihood.log_prob(x)
        return of_rows.new_zeros(self.batch_shape.numel()).scatter(0, self.slots, of_rows).reshape(self.batch_shape)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Packed:
        if tuple(batch_shape) != self.batch_shape:
            raise ValueError("Packed: has its batch shape already.")
        return self
