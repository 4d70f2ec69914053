"""Rows of the product of the marginals: the values of each modality permuted by themselves, among the rows that have
it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...core.batch import Batch
from ...kernels.philox import WORD, philox

QUIET = WORD  # the number of the draw outside of training, the same at each call


class Shuffle(nn.Module):
    """Draws one permutation for each modality, independently; the first stays as it is.

    One permutation that all modalities but the first share would leave their own dependence as it is, and I(x₁; x₂…x_M)
    would be measured in place of the total correlation.

    Its random numbers are its own, counter by counter: no other draw of a fit moves with it. The counter is a buffer,
    so that a resumed fit goes on with it and a recorded step draws anew at each replay. Outside of training each call
    draws the same.

    Args:
        modalities: how many, M.
        seed: of the permutations.
        derange: whether no row keeps its value: a random cycle of the rows. Without, a row keeps its own now and then,
            which in small batches takes 1/B of the dependence away; with, the rows of the product are not quite
            independent of the joint ones.

    Example:
        >>> shuffle = Shuffle(2, derange=True)
        >>> here = torch.tensor([[True, True], [True, False], [True, True]])
        >>> shuffle(here).tolist()  # the second modality: rows 0 and 2 exchange theirs, row 1 has none
        [[0, 1, 2], [2, 1, 0]]
    """

    drawn: Tensor

    def __init__(self, modalities: int, *, seed: int = 0, derange: bool = False) -> None:
        super().__init__()
        self.modalities, self.derange = modalities, derange
        digest = hashlib.blake2b(f"shuffle/{seed}".encode(), digest_size=8).digest()
        self.key = (int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little"))
        self.register_buffer("drawn", torch.zeros((), dtype=torch.int64))

    def forward(self, present: Tensor) -> Tensor:
        """Draw the permutations.

        Args:
            present: (B, M) bool, where a row has a modality.

        Returns:
            (M, B) row numbers: modality m of row b of the product is that of row `[m, b]`. A row that has the modality
            gets that of a row that has it, and one without stays without.
        """
        rows, device = len(present), present.device
        others = self.modalities - 1
        row = torch.arange(rows, device=device)
        number = self.drawn if self.training else torch.full_like(self.drawn, QUIET)
        zero = torch.zeros((), dtype=torch.int64, device=device)
        words = philox((row, torch.arange(others, device=device).unsqueeze(-1), number & WORD, zero), self.key)
        high, low = torch.broadcast_tensors(*words[:2])
        chance = (high << 31) | (low >> 1)  # 63 random bits: equal ones hardly happen, and the sort is stable
        if self.training:
            self.drawn.add_(1)
        here = present.mT[1:]
        last = torch.iinfo(torch.int64).max
        mixed = torch.argsort(torch.where(here, chance, last), stable=True)  # the rows that have it, in random order
        if self.derange:  # each gives its value to the next of them
            place = torch.arange(rows, device=device)
            count = here.sum(-1, keepdim=True)
            following = torch.where(place < count, (place + 1) % count.clamp_min(1), place)
            found = torch.empty_like(mixed).scatter(-1, mixed, mixed.gather(-1, following))
        else:
            ordered = torch.argsort((~here).to(torch.int8), stable=True)  # and in the order of the rows
            found = torch.empty_like(mixed).scatter(-1, ordered, mixed)
        return torch.cat([row.unsqueeze(0), found])


def shuffled(batch: Batch, names: Sequence[str], rows: Tensor) -> Batch:
    """The batch in which the values of some modalities come from other rows, and all else is as it was.

    Args:
        batch: the batch.
        names: M names of modalities.
        rows: (M, B) row numbers, as `Shuffle` draws them.

    Returns:
        A batch of the product of the marginals.

    Example:
        >>> values = {"x": torch.tensor([[1.0], [2.0]]), "y": torch.tensor([[3.0], [4.0]])}
        >>> observed = {name: torch.ones(2, dtype=torch.bool) for name in values}
        >>> batch = Batch(values, observed, index=torch.arange(2), size=2, encoded=("x", "y"))
        >>> moved = shuffled(batch, batch.encoded, torch.tensor([[0, 1], [1, 0]]))
        >>> moved.values["x"].flatten().tolist(), moved.values["y"].flatten().tolist()
        ([1.0, 2.0], [4.0, 3.0])
    """
    source = dict(zip(names, rows))

    def moved(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: part.index_select(0, source[n]) if n in source else part for n, part in parts.items()}

    # all that a batch has of a modality, row by row, moves together
    values, observed, present = (moved(part) for part in (batch.values, batch.observed, batch.present))
    return dataclasses.replace(batch, values=values, observed=observed, present=present)


def in_one(batch: Batch, other: Batch) -> Batch:
    """The rows of both batches, those of the first in front, as one batch that a guide may run on.

    Args:
        batch: B rows.
        other: B' rows of the same modalities.

    Returns:
        B + B' rows, of which all that is observed is seen.

    Example:
        >>> row = Batch({"x": torch.ones(1, 2)}, {"x": torch.tensor([True])}, torch.arange(1), 1, ("x",))
        >>> len(in_one(row, row)), in_one(row, row).seen.tolist()
        (2, [[True], [True]])
    """

    def after(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: torch.cat([part, two[name]]) for name, part in one.items()}

    values, observed = after(batch.values, other.values), after(batch.observed, other.observed)
    index, present = torch.cat([batch.index, other.index]), after(batch.present, other.present)
    return Batch(values, observed, index, batch.size + other.size, batch.encoded, present=present)
