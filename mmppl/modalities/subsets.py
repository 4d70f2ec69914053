"""Subsets of modalities, as boolean tables."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError

MAX_MODALITIES = 12  # modalities of which all subsets are looked at: 4,095


def all_subsets(modalities: int, device: torch.device | None = None) -> Tensor:
    """(2^M − 1, M) bool: every non-empty subset of M modalities, in the order of their binary numbers.

    Raises: UsageError: there are too many to look at them all.
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
    """(1 + M, M) bool: all M modalities, then each alone; (1, 1) for one modality, where both are the same."""
    whole = torch.ones(1, modalities, dtype=torch.bool)
    return whole if modalities == 1 else torch.cat([whole, torch.eye(modalities, dtype=torch.bool)])


def random_subsets(modalities: int, number: int, device: torch.device | None = None) -> Tensor:
    """(number, M) bool: each of a size uniform in 2..M − 1, then uniform among the subsets of that size; (0, M) below
    three modalities, which have none. Drawn by tensor operations, so that a recorded step draws anew.

    Source: the code of Wu & Goodman 2018, arXiv:1802.05335 (celeba19/train.py).
    """
    if modalities < 3:
        return torch.zeros(0, modalities, dtype=torch.bool, device=device)
    size = torch.randint(2, modalities, (number, 1), device=device)
    return torch.rand(number, modalities, dtype=torch.float64, device=device).argsort(-1) < size
