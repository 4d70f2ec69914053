"""Poisson likelihood."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ....kernels.counts import poisson_log_density
from ...modality import Modality
from ..contest import moments
from ..registry import likelihood
from .count import CountLikelihood


def _of_poisson(x: np.ndarray, there: np.ndarray, y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    from scipy.special import gammaln, xlogy

    number, mean, _ = moments(x, there)
    mean = np.maximum(mean, 0.5 / number)
    return xlogy(y, mean) - mean - gammaln(y + 1)


@likelihood("poisson")
class PoissonLikelihood(CountLikelihood):
    """Independent Poissons, whose variance is their mean."""

    contests = {"counts": {"": _of_poisson}}

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
