"""Rows of different lengths without waste: only time steps that exist are computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


@dataclass(frozen=True)
class Packing:
    """The existing time steps of a batch, without gaps: first the first step of all rows that have one, then the second
    of those that have two, and so on. The rows come in the order of their lengths, so that those which have a further
    step are always the first ones.

    Args:
        places: (N,) for each of the N existing steps its place in the flattened (B·T).
        counts: for the first step, the second, ..., how many rows have it; none is 0.
        back: (B,) for each row its rank among the rows, from the longest on.

    Example:
        >>> packing = Packing.of(torch.tensor([[False, True, False], [True, True, True]]))
        >>> packing.counts, packing.places.tolist()
        ([2, 1, 1], [3, 1, 4, 5])
        >>> packing.pack(torch.arange(6.0).reshape(2, 3, 1)).flatten().tolist()
        [3.0, 1.0, 4.0, 5.0]
    """

    places: Tensor
    counts: list[int]
    back: Tensor

    @classmethod
    def of(cls, steps: Tensor) -> Packing:
        """Pack the True entries of `steps`, (B, T), in the order in which each row has them."""
        T, device = steps.shape[1], steps.device
        lengths = steps.sum(1)
        rows = torch.argsort(lengths, descending=True, stable=True)
        within = torch.argsort((~steps).to(torch.uint8), dim=1, stable=True)  # existing steps first
        places = (rows * T).unsqueeze(-1) + within[rows]
        exists = torch.arange(T, device=device) < lengths[rows].unsqueeze(-1)
        # int() of a tensor is refused by a recorded step, in which `tolist` would freeze the lengths of one batch
        counts = [int(n) for n in exists.sum(0).cpu()]
        return cls(places.T[exists.T], [n for n in counts if n], torch.argsort(rows))

    def pack(self, x: Tensor) -> Tensor:
        """(B, T, F) → (N, F), the existing steps."""
        return x.flatten(0, 1)[self.places]

    def rows(self, x: Tensor) -> Tensor:
        """(n, F), of the n longest rows, → (B, F) in the rows' own order, with 0 for the rest."""
        rest = x.new_zeros(len(self.back) - len(x), x.shape[1])
        return torch.cat([x, rest])[self.back]


def last_state(lstm: nn.LSTM, x: Tensor, steps: Tensor) -> Tensor:
    """Run an LSTM over the existing steps of each row.

    Args:
        lstm: of one layer and one direction.
        x: (B, T, F) its inputs.
        steps: (B, T) bool; False where a step does not exist.

    Returns:
        (B, H) the hidden state after the last existing step; 0, with which the LSTM begins, where there is none.
    """
    if steps.shape[1] == 1:  # one shape for every batch, and no layer of a vendor's: such a step can be recorded
        start = x.new_zeros(len(x), lstm.hidden_size)
        return torch.where(steps, torch.lstm_cell(x[:, 0], (start, start), *lstm.all_weights[0])[0], 0.0)
    packing = Packing.of(steps)
    if not packing.counts:
        return x.new_zeros(len(x), lstm.hidden_size)
    _, (h, _) = lstm(PackedSequence(packing.pack(x), torch.tensor(packing.counts)))
    return packing.rows(h[-1])


def mean(x: Tensor, steps: Tensor) -> Tensor:
    """The mean of x, (B, T, F) with 0 where a step does not exist, over existing steps: (B, F); 0 where none exists."""
    return x.sum(1) / steps.sum(1, keepdim=True).clamp(min=1)


def groups_of_length(lengths: list[int], waste: float = 0.2) -> list[list[int]]:
    """Group rows for a network that pads: each group is padded to its own longest row.

    Args:
        lengths: steps of each row.
        waste: the largest share of padded steps, relative to existing ones, in any group.

    Returns:
        Rows of each group, the longest first; as few groups as joining neighbours one after the other allows.

    Example:
        >>> groups_of_length([5, 9, 10, 1])
        [[2, 1], [0], [3]]
    """
    groups: list[list[int]] = []
    existing = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        existing += lengths[row]
        if not groups or (len(groups[-1]) + 1) * lengths[groups[-1][0]] > (1 + waste) * existing:
            groups.append([])
            existing = lengths[row]
        groups[-1].append(row)
    return groups
