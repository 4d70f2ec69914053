"""Bernoulli likelihood."""

from __future__ import annotations

import torch
from pyro.distributions import constraints
from torch import Tensor

from ...kernels.likelihood import (
    bernoulli_log_density,
)
from .likelihood import Likelihood
from .registry import likelihood


@likelihood("bernoulli")
class BernoulliLikelihood(Likelihood):
    """Independent Bernoullis by logits; grey values in [0, 1] are scored as probabilities."""

    masks = True
    support = constraints.independent(constraints.unit_interval, 0)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        return bernoulli_log_density(self.given, self._features(value), mask)

    def from_uniform(self, u: Tensor) -> Tensor:
        return self._event((u >= torch.sigmoid(-self.output)).to(self.output.dtype))

    @property
    def mean(self) -> Tensor:
        return self._event(torch.sigmoid(self.output))

    @property
    def variance(self) -> Tensor:
        p = torch.sigmoid(self.output)
        return self._event(p * (1 - p))
