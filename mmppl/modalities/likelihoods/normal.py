"""Normal likelihood."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from pyro.distributions import constraints
from torch import Tensor

from ...base.random import off_the_ends
from ...kernels.likelihood import (
    PREDICTED_LOG_VAR_RANGE,
    normal_log_density,
    normal_predicted_log_density,
)
from ..array_facts import ArrayFacts, Claim
from ..modality import Modality
from .contest import moments
from .likelihood import Likelihood
from .registry import likelihood

LEAST = 1e-3  # the least standard deviation of a fit to some rows, in logs or as a share


def _of_logs(x: np.ndarray, there: np.ndarray, y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """A Normal on ln(1 + x): nats of the unit around each count, or of the density where that is too small."""
    from scipy.special import ndtr

    _, mean, variance = moments(np.log1p(x), there)
    sd = np.maximum(np.sqrt(variance), LEAST)
    ends = [ndtr((np.log1p(y + half) - mean) / sd) for half in (-0.5, 0.5)]
    far = -0.5 * ((np.log1p(y) - mean) / sd) ** 2 - np.log(sd * (1 + y)) - 0.5 * np.log(2 * np.pi)
    share = ends[1] - ends[0]
    return np.where(share > 1e-12, np.log(np.maximum(share, 1e-12)), far)


def _of_numbers(x: np.ndarray, there: np.ndarray, y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """A Normal on the numbers themselves; of whole numbers its density is about the probability of the unit."""
    _, mean, variance = moments(x, there)
    sd = np.maximum(np.sqrt(variance), LEAST)
    return -0.5 * ((y - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)


@likelihood("normal")
class NormalLikelihood(Likelihood):
    """Independent Normals. The scale is a standard deviation, "learned" per feature (the default), "shared", learned
    for all features (the default of images), or "predicted" by the decoder, the second half of whose output is then the
    log-variance, clamped to PREDICTED_LOG_VAR_RANGE.
    """

    values = "numbers"
    calibrates_noise = True
    contests = {"counts": {"on ln(1 + x)": _of_logs, "": _of_numbers}, "shares": {"": _of_numbers}}
    default_scale = "learned"
    scales = ("learned", "shared", "predicted")
    masks = True
    elements = True
    support = constraints.real

    @classmethod
    def claims(cls, facts: ArrayFacts) -> Claim | None:
        """Claims every number that no other likelihood claims. Whole numbers from 0 on are scored as ln(1 + x), unless
        their zeros stand apart: the mean of a log-normal over such a gap lies far above all values.
        """
        if facts.kind not in "iuf":
            return None
        counts = facts.kind in "iu" and facts.nonnegative and not facts.zeros_apart
        role: Literal["modality", "label"] = "label" if facts.is_label else "modality"
        transform = "log1p" if counts else "standardise"
        return Claim(0, Modality(facts.name, facts.shape, "normal", role=role, transform=transform))

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        return modality.size * (2 if modality.scale == "predicted" else 1)

    @classmethod
    def is_gaussian(cls, modality: Modality) -> bool:
        return cls.scale_of(modality) != "predicted"

    def _predicted(self) -> bool:
        return self._scale() == "predicted"

    def _loc_log_var(self) -> tuple[Tensor, Tensor | float]:
        if self._predicted():
            loc, log_var = self.output.chunk(2, -1)
            factor = self._of_every_step(self._calibration())
            return loc, (log_var if factor is None else log_var + 2 * factor).clamp(*PREDICTED_LOG_VAR_RANGE)
        log_scale = self._of_every_step(self._log_scale())
        return self.output[..., : self.modality.size], 2 * log_scale

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self._features(value)
        if self._predicted():
            factor = self._of_every_step(self._calibration())
            shift = None if factor is None else torch.cat([torch.zeros_like(factor), 2 * factor])
            output = self.given if shift is None else self.output + shift
            return normal_predicted_log_density(x, output, mask, self._stretches())
        return normal_log_density(x, self.given, 2 * self._log_scale(), mask, self._stretches())

    def from_uniform(self, u: Tensor) -> Tensor:
        loc, log_var = self._loc_log_var()
        sd = math.exp(0.5 * log_var) if isinstance(log_var, float) else torch.exp(0.5 * log_var)
        return self._event(loc + sd * torch.special.ndtri(off_the_ends(u)))

    @property
    def mean(self) -> Tensor:
        return self._event(self._loc_log_var()[0])

    @property
    def variance(self) -> Tensor:
        loc, log_var = self._loc_log_var()
        variance = torch.as_tensor(log_var, dtype=loc.dtype, device=loc.device).exp()
        return self._event(variance.expand(loc.shape))
