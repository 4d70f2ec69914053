"""Categorical likelihood."""

from __future__ import annotations

import torch
from pyro.distributions import constraints
from torch import Tensor

from ...kernels.categorical import categorical_log_density
from ..modality import Modality
from .likelihood import Likelihood
from .registry import likelihood


@likelihood("categorical")
class CategoricalLikelihood(Likelihood):
    """One class (a label), or one class per position of a sequence; values are codes into `modality.classes`."""

    masks = True
    support = constraints.nonnegative_integer

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        return modality.size * modality.n_classes

    @property
    def logits(self) -> Tensor:
        """(..., size, K), unnormalised."""
        return self._by_class(self.output)

    def _by_class(self, output: Tensor) -> Tensor:
        return output.unflatten(-1, (self.modality.size, self.modality.n_classes))

    @property
    def probs(self) -> Tensor:
        """(..., *shape, K)."""
        probs = torch.softmax(self.logits, -1)
        return probs.reshape(*probs.shape[:-2], *self.modality.shape, self.modality.n_classes)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        return categorical_log_density(self._by_class(self.given), self._flat(value), mask)

    def from_uniform(self, u: Tensor) -> Tensor:
        below = torch.softmax(self.logits, -1).cumsum(-1)
        below = below / below[..., -1:]
        return self._event((u.unsqueeze(-1) >= below[..., :-1]).sum(-1))

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("classes have no mean; use probs")

    variance = mean
