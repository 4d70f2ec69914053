"""What all likelihoods of counts share: means by their logs, relative to the training rows', and size factors."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from pyro.distributions import constraints
from torch import Tensor

from ....kernels.counts import LOG_RATE_RANGE, nb
from ...array_facts import ArrayFacts
from ...modality import Modality
from ...scaling import Scaling
from ..likelihood import Likelihood
from .quantiles import count_quantile

LEAST_TOTAL = 0.5  # a row of zeros counts as half a count, so that its size factor has a logarithm
CERTAIN = 1e-12  # squared coefficient of variation of a size that is set
SMALLEST = math.exp(-10)  # the least centre of a feature, one that is zero in every training row


class CountLikelihood(Likelihood):
    """Independent counts, whose means μ = s · c · e^output the decoder gives by their logs; an encoder sees ln(1 + x),
    standardised.

    c is the centre of the feature, e^E ln(1 + x) − 1 over the training rows, so that an output of 0 is a usual count.
    s is 1, or where the modality has a `size_factor` the row's library size: s = Σ x / Σ c over the elements that the
    row has. The latent then explains shares, not depths, and the log-probability is ln p(total) + Σ ln p(x | total),
    with a negative binomial for the totals, so that its nats are those of all counts. Where counts are drawn or
    averaged (a query), s is unknown and follows the training rows: their mean, and their spread as dispersion; or it is
    that of a total which the query sets (`of_total`).

    Source: a mean proportional to the library size as in Lopez et al. 2018, Nature Methods 15 (scVI: μ = ℓ ρ), with
    ρ ∝ e^output as in generalised linear models (Love et al. 2014, Genome Biology 15, eq. 1: μ = s q) instead of a
    softmax, so that each feature stands for itself and a row may lack some.
    """

    values = "counts"
    density = False
    masks = True
    elements = True
    input_transform = "log1p"
    anchors = ("nll_global", "nll_class")
    support = constraints.nonnegative_integer

    @classmethod
    def refuses(cls, facts: ArrayFacts) -> str | None:
        return "its values are strings, and no counts." if facts.kind == "U" else None

    @classmethod
    def size_factors(cls, modality: Modality, value: np.ndarray, there: np.ndarray) -> np.ndarray:
        """The size factors of rows: their totals, relative to the centres of the elements that they have.

        Args:
            modality: the modality, with its `input_scaling`.
            value: (n, size) counts.
            there: (n, size) bool, the elements that exist.

        Returns:
            (n,) positive numbers; 1 where nothing exists.
        """
        centre = np.exp(_log_centres(modality.input_scaling))
        expected = np.where(there, centre, 0.0).sum(1)
        totals = np.maximum(np.where(there, value, 0.0).sum(1, dtype=np.float64), LEAST_TOTAL)
        return np.where(expected > 0, totals / np.where(expected > 0, expected, 1.0), 1.0)

    @classmethod
    def of_total(cls, modality: Modality, total: float) -> Modality:
        """Return a modality with a size factor as its rows have it whose total is known, for predictions.

        Args:
            modality: the modality, with its `size_factor`.
            total: the total, above 0.

        Returns:
            The same with the size factor total / Σ c, and no spread of it.
        """
        centres = float(np.exp(_log_centres(modality.input_scaling)).sum())
        return replace(modality, size_factor=(total / centres, CERTAIN))

    def _offset(self) -> Tensor | float:
        """(size,) ln c; 0 of a modality that has learned nothing from data."""
        scaling = self.modality.input_scaling
        return 0.0 if scaling is None else _offsets(scaling, self.dtype, self.given.device)

    def _scored(self, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The counts (..., B, size), the outputs for a kernel whose first is ln μ, and (..., B) nats of the totals."""
        x, offset = self._features(value), self._offset()
        if isinstance(offset, float):
            return x, self.given, None
        of_total = None
        if self.modality.size_factor is not None:
            mean, spread = self.modality.size_factor
            centre, total = offset.exp().expand(x.shape), x
            if self.present is not None:
                there = self.present.expand(*value.shape).reshape(x.shape)
                centre, total = (torch.where(there, t, 0.0) for t in (centre, total))
            expected, total = centre.sum(-1, keepdim=True), total.sum(-1, keepdim=True)
            some = expected > 0
            expected = torch.where(some, expected, 1.0)
            offset = offset + torch.where(some, torch.log(total.clamp_min(LEAST_TOTAL) / expected), 0.0)
            logs = (torch.log(mean * expected), torch.full_like(expected, -math.log(spread)))
            of_total = torch.where(some, nb.formula.value(total, *logs), 0.0).squeeze(-1)
        more = self.output_size(self.modality) - self.modality.size
        shift = offset if not more else torch.nn.functional.pad(offset, (0, more))
        return x, self.output + shift, of_total

    def _with_total(self, nats: Tensor, of_total: Tensor | None, mask: Tensor | None) -> Tensor:
        if of_total is None:
            return nats
        return nats + (of_total if mask is None else torch.where(mask, of_total, 0.0))

    def _rate(self) -> Tensor:
        """(..., B, size) means of the counts, of an average size, in float64: a float32 has no 10 digits."""
        size = self.modality.size_factor
        log_mean = self.output[..., : self.modality.size] + self._offset() + (math.log(size[0]) if size else 0.0)
        return log_mean.clamp(*LOG_RATE_RANGE).double().exp()

    def _dispersion(self) -> float | Tensor:
        """What the variance has above the mean, over the mean squared: that of the size factors, if there are any."""
        return self.modality.size_factor[1] if self.modality.size_factor else 0.0

    def _counts(self, numbers: Tensor) -> Tensor:
        """(..., size) → (..., *shape), in the dtype of densities."""
        return self._event(numbers.to(self.dtype))

    def from_uniform(self, u: Tensor) -> Tensor:
        return self._counts(count_quantile(below_one(u), self._rate(), self._dispersion()))

    @property
    def mean(self) -> Tensor:
        return self._counts(self._rate())

    @property
    def variance(self) -> Tensor:
        rate = self._rate()
        return self._counts(rate + self._dispersion() * rate.square())


def below_one(u: Tensor) -> Tensor:
    """Keep uniforms off 1, where the quantile of a count is infinite.

    Args:
        u: numbers in [0, 1].

    Returns:
        The same, at least half a machine epsilon below 1.
    """
    return u.clamp_max(1 - torch.finfo(u.dtype).eps / 2)


def _log_centres(scaling: Scaling | None) -> np.ndarray:
    shift = np.asarray(scaling.shift if scaling is not None and scaling.shift is not None else 0.0, np.float64)
    return np.log(np.maximum(np.expm1(shift), SMALLEST))


@lru_cache(64)
def _offsets(scaling: Scaling, dtype: torch.dtype, device: torch.device) -> Tensor:
    """They are kept: nothing can be copied to a device while a step is recorded."""
    return torch.tensor(_log_centres(scaling), dtype=dtype, device=device)
