"""Subsets of modalities as boolean tables."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError

MAX_MODALITIES = 12  # all subsets of so many are still examined: 4,095 of them


def all_subsets(modalities: int, device: torch.device | None = None) -> Tensor:
    """List every non-empty subset of M modalities, in the order of their binary numbers.

    Args:
        modalities: M.
        device: where the table is made; None: PyTorch's default.

    Returns:
        (2^M − 1, M) bool.

    Raises:
        UsageError: there are too many subsets to examine them all.

    Example:
        >>> all_subsets(2).tolist()
        [[True, False], [False, True], [True, True]]
    """
    if modalities > MAX_MODALITIES:
        raise UsageError(
            f"{modalities} modalities have {2**modalities - 1:,} subsets, too many to look at them all (at most "
            f"{MAX_MODALITIES} modalities); put columns that belong together into one modality (modality:column in a "
            "DataFrame)."
        )
    numbers = torch.arange(1, 2**modalities, device=device).unsqueeze(-1)
    return (numbers >> torch.arange(modalities, device=device)) & 1 == 1


def full_and_singletons(modalities: int) -> Tensor:
    """List the set of all M modalities, then each modality alone.

    Args:
        modalities: M.

    Returns:
        (1 + M, M) bool; (1, 1) for one modality, where both are the same.

    Example:
        >>> full_and_singletons(2).tolist()
        [[True, True], [True, False], [False, True]]
    """
    whole = torch.ones(1, modalities, dtype=torch.bool)
    return whole if modalities == 1 else torch.cat([whole, torch.eye(modalities, dtype=torch.bool)])


def random_subsets(modalities: int, number: int, device: torch.device | None = None) -> Tensor:
    """Draw subsets of M modalities: first a size, uniform in 2..M − 1, then one of the subsets of that size.

    Tensor operations draw them, so that a recorded step draws anew.

    Args:
        modalities: M.
        number: how many subsets are drawn.
        device: where they are drawn; None: PyTorch's default.

    Returns:
        (number, M) bool; (0, M) below three modalities, which have no such subsets.

    Source: the code of Wu & Goodman 2018, arXiv:1802.05335 (celeba19/train.py).

    Example:
        >>> random_subsets(3, 4).sum(-1).tolist()
        [2, 2, 2, 2]
    """
    if modalities < 3:
        return torch.zeros(0, modalities, dtype=torch.bool, device=device)
    size = torch.randint(2, modalities, (number, 1), device=device)
    return torch.rand(number, modalities, dtype=torch.float64, device=device).argsort(-1) < size


def one_subset_each(observed: Tensor) -> Tensor:
    """Draw a subset of its own for each row: any of the non-empty subsets of what it has, all equally likely.

    Args:
        observed: (B, M) bool, M at most 50.

    Returns:
        (B, M) bool; nothing for rows that have nothing.

    Example:
        >>> one_subset_each(torch.tensor([[True, False, False]]))
        tensor([[ True, False, False]])
    """
    number = 2.0 ** observed.sum(-1, dtype=torch.float64)
    uniform = torch.rand(number.shape, dtype=number.dtype, device=number.device)
    code = (1 + uniform * (number - 1)).long().minimum(number.long() - 1)
    place = (observed.cumsum(-1) - 1).clamp_min(0)
    return observed & ((code.unsqueeze(-1) >> place) & 1).bool()
