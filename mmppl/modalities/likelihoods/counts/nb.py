"""Negative binomial likelihood."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ....kernels.counts import nb, nb_log_density
from ...modality import Modality
from ..contest import moments
from ..registry import likelihood
from .count import CountLikelihood

INVERSE_DISPERSION = "log_inverse_dispersion"
LOWEST, HIGHEST = math.log(1e-3), math.log(1e4)
"""Bounds of the log of a learned inverse dispersion: beyond the upper one it is a Poisson for all that data tell."""


R_RANGE = (1e-3, 1e4)  # of inverse dispersions that are fitted to some rows
ABOUT = np.array([0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8])  # times that of the moments, which are tried


def _nb(y: np.ndarray, mean: np.ndarray, r: np.ndarray) -> np.ndarray:
    from scipy.special import gammaln, xlogy

    coefficient = gammaln(y + r) - gammaln(r) - gammaln(y + 1)
    return coefficient - r * np.log1p(mean / r) + xlogy(y, mean / (r + mean))


def _of_nb(x: np.ndarray, there: np.ndarray, y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The inverse dispersion is that of the moments, or the likeliest of some about it: few rows hold the tail."""
    number, mean, variance = moments(x, there)
    mean = np.maximum(mean, 0.5 / number)
    tried = np.clip(np.clip(mean**2 / np.maximum(variance - mean, 1e-12), *R_RANGE) * ABOUT[:, None], *R_RANGE)
    nats = np.stack([np.where(there, _nb(x, mean, r), 0.0).sum(0) for r in tried])
    return _nb(y, mean, np.take_along_axis(tried, nats.argmax(0)[None], 0)[0])


def _of_sizes(x: np.ndarray, there: np.ndarray, y: np.ndarray, kept: np.ndarray) -> float:
    """An NB for the rows' totals, and NBs whose means are proportional to them: nats of all."""
    number, mean, _ = moments(x, there)
    mean = np.maximum(mean, 0.5 / number)
    sizes = [np.maximum(t.sum(1), 0.5) / np.maximum((k * mean).sum(1), 1e-12) for t, k in ((x, there), (y, kept))]
    s, of_test = (one[:, None] for one in sizes)
    share = np.maximum(np.where(there, x, 0.0).sum(0) / np.maximum((there * s).sum(0), 1e-12), 0.5 / number)
    expected = s * share
    above = np.where(there, (x - expected) ** 2 - expected, 0.0).sum(0)
    square = np.where(there, expected**2, 0.0).sum(0)
    r = np.clip(square / np.maximum(above, 1e-12), *R_RANGE)
    of_counts = np.where(kept, _nb(y, of_test * share, r), 0.0).sum()
    average = s.mean()
    spread = np.clip(s.var() / average**2, 1e-4, 1e3)
    return float(of_counts + _nb(y.sum(1), average * (kept * mean).sum(1), 1 / spread).sum())


@likelihood("nb")
class NegativeBinomialLikelihood(CountLikelihood):
    """Independent negative binomials of mean μ and variance μ + μ²/r. The scale is the inverse dispersion r, "learned"
    per feature (the default), or "shared", learned for all features.
    """

    default_scale = "learned"
    contests = {"counts": {"": _of_nb}}
    sized_nats = staticmethod(_of_sizes)
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
