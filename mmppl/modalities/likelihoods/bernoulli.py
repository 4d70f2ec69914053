"""Bernoulli likelihood."""

from __future__ import annotations

import numpy as np
import torch
from pyro.distributions import constraints
from torch import Tensor

from ...kernels.likelihood import bernoulli_log_density
from ..array_facts import ArrayFacts, Claim
from ..modality import Modality
from ..transforms import DEPTHS
from .likelihood import Likelihood
from .registry import likelihood


def _image_transform(facts: ArrayFacts) -> str | None:
    """Name the transform of an image of bytes, or of two bytes by the largest of its grey values; None: no image."""
    if facts.kind not in "iu" or facts.dtype not in (np.uint8, np.uint16) or len(facts.shape) < 2:
        return None
    if facts.dtype == np.uint8:
        return "image"
    largest = max(int(part.max(initial=0)) for part in facts.parts())
    return f"image{next(bits for bits in DEPTHS if largest < 2**bits)}"


@likelihood("bernoulli")
class BernoulliLikelihood(Likelihood):
    """Independent Bernoullis by logits. Grey values in [0, 1] are scored as probabilities."""

    values = "numbers"
    density = False
    masks = True
    elements = True
    anchors = ("nll_global", "nll_class", "nll_floor")
    support = constraints.independent(constraints.unit_interval, 0)

    @classmethod
    def claims(cls, facts: ArrayFacts) -> Claim | None:
        """Claims bools, whole numbers that are all 0 or 1, images of 8 or 16 bits, and floats in [0, 1] with an event
        dimension that are images, grey values or bits. Proportions are left to others: a Bernoulli has no idea of how
        far they scatter.
        """
        bits = facts.kind in "iu" and facts.shape and not facts.one_column and facts.bits
        if not bits and (image := _image_transform(facts)):
            return Claim(1, Modality(facts.name, facts.shape, "bernoulli", transform=image))
        if bits or facts.kind == "b" or (facts.kind == "f" and facts.shape and facts.in_unit and not facts.proportions):
            return Claim(1, Modality(facts.name, facts.shape, "bernoulli"))
        return None

    @classmethod
    def transforms(cls, guessed: str) -> tuple[str, ...]:
        """Grey values are divided by the largest of their depth; everything else has to lie in [0, 1] as it is."""
        return (guessed,) if guessed.startswith("image") else ("none",)

    @classmethod
    def illegal(cls, value: np.ndarray) -> tuple[np.ndarray, str]:
        why = "lies outside [0, 1], where a Bernoulli lives; rescale it, or fit it as normal."
        return (value < 0) | (value > 1), why

    @classmethod
    def limits(cls, modality: Modality) -> tuple[float, float]:
        low, high = modality.value_in_input_units(np.zeros(())), modality.value_in_input_units(np.ones(()))
        return float(low), float(high)

    @classmethod
    def baseline_parameters(cls, modality: Modality, value: Tensor) -> Tensor:
        """The mean of each feature. ½ is added to the counts of 1 and of 0, so that neither probability is 0."""
        inputs = cls.as_input(modality, value)
        return (inputs.sum(0, dtype=torch.float64) + 0.5) / (len(inputs) + 0.5 * 2)

    @classmethod
    def negative_log_likelihood(cls, modality: Modality, value: Tensor, parameters: Tensor | None) -> Tensor:
        """The cross-entropy. That of grey values under themselves is Σ H(x), below which no Bernoulli comes; 0 ln 0 =
        0.
        """
        truth = cls.as_input(modality, value).double()
        share = truth if parameters is None else parameters.double()
        yes = torch.xlogy(truth, share).sum(1)
        return -(yes + torch.xlogy(1 - truth, 1 - share).sum(1))

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        return bernoulli_log_density(self.given, self._features(value), mask, self._stretches())

    def from_uniform(self, u: Tensor) -> Tensor:
        return self._event((u >= torch.sigmoid(-self.output)).to(self.output.dtype))

    @property
    def mean(self) -> Tensor:
        return self._event(torch.sigmoid(self.output))

    @property
    def variance(self) -> Tensor:
        p = torch.sigmoid(self.output)
        return self._event(p * (1 - p))
