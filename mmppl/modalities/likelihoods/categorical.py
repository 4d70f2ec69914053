"""Categorical likelihood."""

from __future__ import annotations

from typing import Literal

import torch
from pyro.distributions import constraints
from torch import Tensor

from ...kernels.categorical import categorical_log_density
from ..array_facts import ArrayFacts, Claim
from ..modality import Modality
from .likelihood import Likelihood
from .registry import likelihood


@likelihood("categorical")
class CategoricalLikelihood(Likelihood):
    """One class per row, such as a label, or one class per position of a sequence. Values are codes into
    `modality.classes`.
    """

    values = "classes"
    density = False
    masks = True
    elements = True
    error_metric = "error"
    anchors = ("nll_global", "nll_class")
    support = constraints.nonnegative_integer

    @classmethod
    def claims(cls, facts: ArrayFacts) -> Claim | None:
        """Claims strings, what is named as a label and has codes, and single columns of few whole numbers. Only what is
        named as a label is one; the others are inputs.
        """
        role: Literal["modality", "label"] = "label" if facts.is_label else "modality"
        one = Modality(facts.name, () if facts.one_column else facts.shape, "categorical", role=role)
        if facts.kind == "U":
            return Claim(2, one)
        if facts.is_label:
            return Claim(2, one) if facts.kind == "b" or (facts.whole and facts.codes) else None
        return Claim(2, one) if facts.kind in "iu" and facts.one_column and facts.few else None

    @classmethod
    def baseline_parameters(cls, modality: Modality, value: Tensor) -> Tensor:
        """The share of each class. ½ is added to its count, so that no probability is 0."""
        inputs = cls.as_input(modality, value)
        return (inputs.sum(0, dtype=torch.float64) + 0.5) / (len(inputs) + 0.5 * modality.n_classes)

    @classmethod
    def negative_log_likelihood(cls, modality: Modality, value: Tensor, parameters: Tensor | None) -> Tensor:
        truth = cls.as_input(modality, value).double()
        return -torch.xlogy(truth, truth if parameters is None else parameters.double()).sum(1)

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        return modality.size * modality.n_classes

    @classmethod
    def calibration(cls, modality: Modality) -> Tensor:
        """The log of a temperature, by which the logits are divided (Guo et al. 2017, arXiv:1706.04599)."""
        return torch.zeros(())

    @property
    def logits(self) -> Tensor:
        """(..., size, K) unnormalised log-probabilities."""
        return self._tempered(self._by_class(self.output))

    def _tempered(self, logits: Tensor) -> Tensor:
        log_temperature = self._calibration()
        return logits if log_temperature is None else logits * torch.exp(-log_temperature)

    def _by_class(self, output: Tensor) -> Tensor:
        """(..., size, K) logits before calibration."""
        return output.unflatten(-1, (self.modality.size, self.modality.n_classes))

    @property
    def probs(self) -> Tensor:
        """(..., *shape, K) probabilities."""
        probs = torch.softmax(self.logits, -1)
        return probs.reshape(*probs.shape[:-2], *self.modality.shape, self.modality.n_classes)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        logits, codes, there = self._tempered(self._by_class(self.given)), self._flat(value), self._stretches()
        return categorical_log_density(logits, codes, mask, there)

    def from_uniform(self, u: Tensor) -> Tensor:
        below = torch.softmax(self.logits, -1).cumsum(-1)
        below = below / below[..., -1:]
        return self._event((u.unsqueeze(-1) >= below[..., :-1]).sum(-1))
