"""Negative binomial likelihood."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ....kernels.counts import nb, nb_log_density
from ...modality import Modality
from ..registry import likelihood
from .count import CountLikelihood

INVERSE_DISPERSION = "log_inverse_dispersion"
LOWEST, HIGHEST = math.log(1e-3), math.log(1e4)
"""Bounds of the log of a learned inverse dispersion: beyond the upper one it is a Poisson for all that data tell."""


@likelihood("nb")
class NegativeBinomialLikelihood(CountLikelihood):
    """Independent negative binomials of mean μ and variance μ + μ²/r. The scale is the inverse dispersion r, "learned"
    per feature (the default), or "shared", learned for all features.
    """

    default_scale = "learned"
    scales = ("learned", "shared")

    @classmethod
    def parameters(cls, modality: Modality) -> dict[str, Tensor]:
        found = super().parameters(modality)
        return {INVERSE_DISPERSION: found["log_scale"]} if found else {}

    @classmethod
    def baseline_parameters(cls, modality: Modality, value: Tensor) -> Tensor:
        """Mean and inverse dispersion of each feature, by moments; ½ is added to the total, so that no mean is 0."""
        x = value.reshape(-1, modality.size).double()
        mean = (x.sum(0) + 0.5) / len(x)
        above = ((x - mean).square().mean(0) - mean).clamp_min(1e-12)
        return torch.cat([mean, (mean.square() / above).clamp(math.exp(LOWEST), math.exp(HIGHEST))])

    @classmethod
    def negative_log_likelihood(cls, modality: Modality, value: Tensor, parameters: Tensor | None) -> Tensor:
        assert parameters is not None  # there is no nll_floor
        mean, inverse = parameters.chunk(2)
        return -nb.formula.value(value.reshape(-1, modality.size).double(), mean.log(), inverse.log()).sum(1)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        x, output, of_total = self._scored(value)
        nats = nb_log_density(x, output, self._log_inverse_dispersion(), mask, self._stretches())
        return self._with_total(nats, of_total, mask)

    def _log_inverse_dispersion(self) -> float | Tensor:
        return self._log_learned(INVERSE_DISPERSION, LOWEST, HIGHEST)

    def _dispersion(self) -> float | Tensor:
        """With sizes s, E μ² = (E μ)² (1 + CV² s), so that the variance is E μ + (E μ)² [(1 + 1/r)(1 + CV² s) − 1]."""
        logs = self._of_every_step(self._log_inverse_dispersion())
        own = torch.exp(-torch.as_tensor(logs, dtype=torch.float64))
        of_size = super()._dispersion()
        return own + of_size * (1 + own)
