"""The factor of a learned or predicted noise that held-out rows ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...modalities.likelihoods.noise import LOWEST

ITERATIONS, CLOSE = 50, 1e-7  # steps, the last of which changes no log-factor by more
LARGEST = 3.0  # |log-factor|
FEW = 30  # rows; with fewer, one factor for all features
PRIOR = 0.5  # sd of a log-factor before any row is seen: a factor of 1.6
WORTH = 1.0  # nats of all rows that a change has to gain


@dataclass(frozen=True)
class Residuals:
    """What one question leaves of the truth.

    Args:
        squared: (B, D) squares of the truth less the predictive mean.
        spread: (B, D) predictive variance that is due to the latent.
        noise: (B, D) variance of the noise.
        there: (B, D) bool, the features that rows have; None: all.
    """

    squared: Tensor
    spread: Tensor
    noise: Tensor
    there: Tensor | None = None

    @classmethod
    def of(cls, mean: Tensor, variance: Tensor, truth: Tensor, there: Tensor | None = None) -> Residuals:
        """Compare the truth with K draws.

        The variance of the means is that of a new draw around the mean of K: (1 + 1/K) times the unbiased estimate.

        Args:
            mean: (K, B, D) means, given each draw.
            variance: the same of variances.
            truth: (B, D).
            there: (B, D) bool, the features that rows have; None: all.

        Returns:
            The residuals.
        """
        draws = len(mean)
        spread = mean.var(0) * (1 + 1 / draws) if draws > 1 else torch.zeros_like(mean[0])
        return cls((truth.to(mean.dtype) - mean.mean(0)).square(), spread, variance.mean(0), there)

    def of_features(self, some: Tensor) -> Residuals:
        """Return those of some features, (D,) bool."""
        there = None if self.there is None else self.there[:, some]
        return Residuals(self.squared[:, some], self.spread[:, some], self.noise[:, some], there)

    def log_density(self, log_factors: Tensor | float = 0.0) -> Tensor:
        """The log-density of the Normal with the moments of the mixture over draws (Dawid & Sebastiani 1999).

        The mixture itself, of few narrow Normals, would miss most of the truth where the latent is uncertain, and ask
        for more noise than there is.

        Args:
            log_factors: of the noise's standard deviation, (D,) or 0-d.

        Returns:
            (B, D) nats; 0 for features that a row lacks.
        """
        noise = self.noise * torch.as_tensor(log_factors, dtype=self.noise.dtype).mul(2).exp()
        total = (self.spread + noise).clamp_min(torch.finfo(self.noise.dtype).tiny)
        log_p = -0.5 * (self.squared / total + total.log() + math.log(2 * math.pi))
        return log_p if self.there is None else torch.where(self.there, log_p, 0.0)

    def mean_log_density(self, log_factors: Tensor | float = 0.0) -> float:
        """The mean of `log_density` over the features that rows have."""
        log_p = self.log_density(log_factors).double()
        return float(log_p.mean() if self.there is None else log_p.sum() / self.there.sum().clamp_min(1))


def best_log_factors(questions: Sequence[Residuals], *, pooled: bool) -> tuple[Tensor, Tensor]:
    """Maximise the mean over questions of Σ_b ln N(error_bd; 0, spread_bd + e^{2c_d} noise_bd) over the log-factors c.

    With a = e^{2c} noise / total, the derivative is Σ a (error²/total − 1) and the expected information Σ 2a²: Fisher's
    steps. Without spread one of them is the closed form e^{2c} = mean error²/noise, at a logarithmic pace.

    Args:
        questions: residuals of the same D features.
        pooled: whether one factor serves all features.

    Returns:
        Log-factors (D,), or 0-d, and their information, in float64.
    """
    size = questions[0].squared.shape[-1]
    c = torch.zeros(() if pooled else (size,), dtype=torch.float64)
    information = torch.ones_like(c)
    for _ in range(ITERATIONS):
        slope, information, count = _derivatives(questions, c, pooled)
        ratio = slope / information.clamp_min(1e-12)
        # ½ ln(1 + 2 ratio) is the whole way where there is no spread, and Fisher's step to first order
        step = (0.5 * (1 + 2 * ratio).clamp_min(math.exp(-2)).log()).clamp(-1, 1)
        after = (c + torch.where(information > 1e-6 * count, step, 0.0)).clamp(-LARGEST, LARGEST)
        done = float((after - c).abs().max()) < CLOSE
        c = after
        if done:
            break
    return c, information


def _derivatives(questions: Sequence[Residuals], c: Tensor, pooled: bool) -> tuple[Tensor, Tensor, float]:
    """The slope, the information, and the number of terms of each sum, at log-factors c."""
    slope, information, count = torch.zeros_like(c), torch.zeros_like(c), 0.0
    for of in questions:
        noise = of.noise.double() * (2 * c).exp()
        total = (of.spread.double() + noise).clamp_min(1e-300)
        share = noise / total
        for into, part in ((slope, share * (of.squared.double() / total - 1)), (information, 2 * share.square())):
            part = part if of.there is None else torch.where(of.there, part, 0.0)
            into += (part.sum() if pooled else part.sum(0)) / len(questions)
        count += (of.squared.numel() if pooled else len(of.squared)) / len(questions)
    return slope, information, count


def noise_factors(questions: Sequence[Residuals], *, shared: bool) -> Tensor:
    """Find the log-factors of a modality's noise, shrunk towards what few rows cannot deny.

    The factors of the features are shrunk towards the one of the modality, by their information against the spread that
    they have beyond their errors (empirical Bayes), and that one towards 1. Features whose noise is at its lower bound
    are constant or copies, and keep theirs.

    Args:
        questions: residuals of the D features.
        shared: whether one factor serves all features.

    Returns:
        (D,) log-factors, or 0-d; zeros where they would gain less than `WORTH`.
    """
    size = questions[0].squared.shape[-1]
    free = torch.stack([(q.noise > math.exp(2 * LOWEST + 0.1)).any(0) for q in questions]).any(0)
    identity = torch.zeros(() if shared else (size,), dtype=torch.float64)
    if not free.any():
        return identity
    some = [q.of_features(free) for q in questions]
    number, rows = int(free.sum()), sum(len(q.squared) for q in some) / len(some)
    middle, information = best_log_factors(some, pooled=True)
    per_feature = (information / number).clamp_min(1e-12)  # features of one row share a latent: they count as one
    middle = middle / (1 + 1 / (per_feature * PRIOR**2))
    found = middle.expand(number).clone()
    if not shared and number > 1 and rows >= FEW:
        each, information = best_log_factors(some, pooled=False)
        error = 1 / information.clamp_min(1e-6)
        spread = float(((each - middle).square() - error).mean().clamp_min(0))
        found = middle + (each - middle) * spread / (spread + error)
    gain = sum(float((q.log_density(found) - q.log_density()).double().sum()) for q in some) / len(some)
    if not gain > WORTH:
        return identity
    return middle if shared else identity.masked_scatter(free, found)
