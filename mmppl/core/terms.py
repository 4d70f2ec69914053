"""Terms: the named scalars of a loss in nats, each with its weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Weight = float | Tensor


class Terms(dict[str, tuple[Tensor, Weight]]):
    """The terms of a loss: name → (value, weight).

    A value is a sum over event dimensions and active subsets and a mean over rows, in nats. Merge terms with `|`; a new
    term is one more key. Logs show the values; `fit` minimises `loss`.

    Example:
        >>> terms = Terms({"nll.x": (torch.tensor(3.0), 1.0)}) | Terms({"kl.z": (torch.tensor(2.0), 0.5)})
        >>> terms.loss
        tensor(4.)
    """

    @property
    def loss(self) -> Tensor:
        """Σ weight · value, a scalar in nats per row."""
        weighed = [
            value if isinstance(weight, float) and weight == 1.0 else weight * value for value, weight in self.values()
        ]
        return torch.stack(weighed).sum()

    def __or__(self, other: Any) -> Terms:  # type: ignore[override]
        return Terms({**self, **other})
