"""Beta likelihood."""

from __future__ import annotations

import math

import numpy as np
import torch
from pyro.distributions import constraints
from torch import Tensor

from ...base.random import off_the_ends
from ...kernels.likelihood import EDGE, LOGIT_RANGE, beta, beta_log_density
from ..array_facts import ArrayFacts
from ..modality import Modality
from .contest import moments
from .likelihood import Likelihood
from .noise import SPEED
from .registry import likelihood

CONCENTRATION = "log_concentration"
LOWEST, HIGHEST, FIRST = math.log(1e-2), math.log(1e5), math.log(10.0)
"""Bounds of the log of a learned concentration, and where it begins."""
SLACK = 0.01  # how far beyond 0 and 1 a value may lie, as the rounding of a pipeline leaves it


LEAST = 1e-3  # the least standard deviation of a fit to some rows


def _of_beta(x: np.ndarray, there: np.ndarray, y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    from scipy.special import betaln

    _, mean, variance = moments(x, there)
    mean = np.clip(mean, EDGE, 1 - EDGE)
    total = np.clip(mean * (1 - mean) / np.maximum(variance, LEAST**2) - 1, 1e-2, 1e5)
    a, b = total * mean, total * (1 - mean)
    inside = np.clip(y, EDGE, 1 - EDGE)
    return (a - 1) * np.log(inside) + (b - 1) * np.log1p(-inside) - betaln(a, b)


@likelihood("beta")
class BetaLikelihood(Likelihood):
    """Independent Betas, for proportions that are no images: mean μ = sigmoid(output), variance μ(1 − μ)/(1 + φ). The
    scale is the concentration φ, "learned" per feature (the default), "shared", learned for all features (the default
    of images), or a number. Exact zeros and ones, at which a density is 0 or infinite, are scored as if they lay EDGE
    inside.
    """

    values = "numbers"
    contests = {"shares": {"": _of_beta}}
    default_scale = "learned"
    scales = ("learned", "shared")
    masks = True
    elements = True
    input_transform = "standardise"
    anchors = ("nll_global", "nll_class")
    support = constraints.unit_interval

    @classmethod
    def refuses(cls, facts: ArrayFacts) -> str | None:
        return super().refuses(facts) or (
            "a Beta is for proportions from 0 to 1, and these are grey values of bytes; choose bernoulli."
            if facts.dtype == np.uint8 and len(facts.shape) > 1
            else None
        )

    @classmethod
    def transforms(cls, guessed: str) -> tuple[str, ...]:
        """Proportions are scored as they are."""
        return ("none",)

    @classmethod
    def illegal(cls, value: np.ndarray) -> tuple[np.ndarray, str]:
        why = "lies outside [0, 1], where a Beta lives; rescale it, or fit it as normal."
        return (value < -SLACK) | (value > 1 + SLACK), why

    @classmethod
    def as_stored(cls, value: np.ndarray) -> np.ndarray:
        """Proportions; what lies beyond an end by SLACK or less is that end."""
        near = (value >= -SLACK) & (value <= 1 + SLACK)
        return np.where(near, np.clip(value, 0.0, 1.0), value)

    @classmethod
    def parameters(cls, modality: Modality) -> dict[str, Tensor]:
        found = super().parameters(modality)
        return {CONCENTRATION: found["log_scale"] + FIRST / SPEED} if found else {}

    @classmethod
    def limits(cls, modality: Modality) -> tuple[float, float]:
        return 0.0, 1.0

    @classmethod
    def baseline_parameters(cls, modality: Modality, value: Tensor) -> Tensor:
        """Logit of the mean, and log-concentration, of each feature, by moments."""
        x = value.reshape(-1, modality.size).double()
        mean = x.mean(0).clamp(EDGE, 1 - EDGE)
        variance = (x - mean).square().mean(0).clamp_min(1e-12)
        total = (mean * (1 - mean) / variance - 1).clamp(math.exp(LOWEST), math.exp(HIGHEST))
        return torch.cat([torch.logit(mean), total.log()])

    @classmethod
    def negative_log_likelihood(cls, modality: Modality, value: Tensor, parameters: Tensor | None) -> Tensor:
        assert parameters is not None  # there is no nll_floor
        return -beta.formula.value(value.reshape(-1, modality.size).double(), *parameters.chunk(2)).sum(1)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self._features(value)
        return beta_log_density(x, self.given, self._log_concentration(), mask, self._stretches())

    def _log_concentration(self) -> float | Tensor:
        return self._log_learned(CONCENTRATION, LOWEST, HIGHEST)

    def _concentration(self) -> Tensor:
        logs = self._of_every_step(self._log_concentration())
        return torch.as_tensor(logs, dtype=torch.float64, device=self.output.device).exp()

    def _share(self) -> Tensor:
        return torch.sigmoid(self.output.clamp(*LOGIT_RANGE).double())

    def from_uniform(self, u: Tensor) -> Tensor:
        from scipy import special

        total, share = self._concentration(), self._share()
        with torch.no_grad():
            parts = (t.expand(self.output.shape).cpu().numpy() for t in (total * share, total * (1 - share)))
            found = special.betaincinv(*parts, off_the_ends(u).double().cpu().numpy())
        return self._event(torch.from_numpy(np.asarray(found)).to(self.output))

    @property
    def mean(self) -> Tensor:
        return self._event(self._share().to(self.output.dtype))

    @property
    def variance(self) -> Tensor:
        share = self._share()
        return self._event((share * (1 - share) / (1 + self._concentration())).to(self.output.dtype))
