"""Terms: the named scalars of a loss in nats, each with its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from .modality import Modality

Weight = float | Tensor


class Terms(dict[str, tuple[Tensor, Weight]]):
    """name → (value, weight). A value is a sum over event dimensions and active subsets and a mean over rows.

    Merge with `|`; a new term is one more key. Logs show the values; `loss` is what is minimised.
    """

    @property
    def loss(self) -> Tensor:
        """Σ weight · value, a scalar in nats per row."""
        return torch.stack([weight * value for value, weight in self.values()]).sum()

    def __or__(self, other: Any) -> Terms:  # type: ignore[override]
        return Terms({**self, **other})


def warmed(weight: float, progress: Tensor, share: float) -> Weight:
    """`weight`, rising linearly from 0 over the first `share` of the training; a plain number where share is 0.

    Args: progress: 0-d, the program's clock in [0, 1].
    """
    return weight * (progress / share).clamp(max=1.0) if share else weight


def likelihood_weights(
    modalities: Sequence[Modality], *, weigh: Literal["equal", "size"] = "equal", label_weight: float = 1.0
) -> dict[str, float]:
    """name → weight of its log-likelihood: `label_weight` of a label; of a modality 1 or, by size, λ_m = max d / d_m.

    Source: λ_m as in the code of Sutter et al. 2021, "Generalized multimodal ELBO"; d_m counts features (characters of
    a text) of the modalities.
    """
    largest = max((m.size for m in modalities if m.role == "modality"), default=1)
    by_size = {m.name: largest / m.size if weigh == "size" else 1.0 for m in modalities}
    return by_size | {m.name: label_weight for m in modalities if m.role == "label"}
