"""Poisson likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from ....kernels.counts import poisson_log_density
from ...modality import Modality
from ..registry import likelihood
from .count import CountLikelihood


@likelihood("poisson")
class PoissonLikelihood(CountLikelihood):
    """Independent Poissons, whose variance is their mean."""

    @classmethod
    def baseline_parameters(cls, modality: Modality, value: Tensor) -> Tensor:
        """The mean of each feature. ½ is added to the total, so that no mean is 0."""
        return (value.reshape(-1, modality.size).sum(0, dtype=torch.float64) + 0.5) / len(value)

    @classmethod
    def negative_log_likelihood(cls, modality: Modality, value: Tensor, parameters: Tensor | None) -> Tensor:
        x = value.reshape(-1, modality.size).double()
        mean = x if parameters is None else parameters
        return -(torch.xlogy(x, mean) - mean - torch.lgamma(x + 1)).sum(1)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        x, output, of_total = self._scored(value)
        return self._with_total(poisson_log_density(x, output, mask, self._stretches()), of_total, mask)
