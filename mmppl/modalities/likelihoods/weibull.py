"""Weibull likelihood of survival times, of which some are censored."""

from __future__ import annotations

import math

import torch
from pyro.distributions import constraints
from torch import Tensor

from ...base.random import off_the_ends
from ...errors import UsageError
from ..array_facts import ArrayFacts
from ..modality import Modality
from .likelihood import Likelihood
from .noise import bounded_log_scale
from .registry import likelihood

SD_OF_LOG = math.pi / math.sqrt(6)  # standard deviation of ln T of a Weibull of shape 1
STEEPEST = (
    30.0  # k ln(t/λ) beyond which nats (10^13 of them) grow linearly, so that neither they nor gradients overflow
)


@likelihood("weibull")
class WeibullLikelihood(Likelihood):
    """A time until an event, by accelerated failure: S(t) = exp(−(t/λ)^k), λ by the decoder, k learned.

    A value t > 0 is the time of an event, which is scored by the log-density; −t says that a row was last seen at t
    without the event (right censoring), and is scored by ln S(t). Draws, means and quantiles are times of events. The
    decoder's output is ln λ in standard units of ln t over the training rows, and k begins where ln T scatters as much
    as those do.

    Source: Kalbfleisch & Prentice 2002, "The statistical analysis of failure time data", 2nd ed., eq. 2.2 (Weibull) and
    3.2 (likelihood of censored times).

    Example:
        >>> time = Modality("os", (), "weibull", role="label", learned={"log_shape": torch.zeros(())})
        >>> exponential = time.family(time, torch.zeros(2, 1))
        >>> exponential.log_prob(torch.tensor([2.0, -3.0]))  # an event at 2, and none until 3
        tensor([-2., -3.])
    """

    values = "numbers"
    kind = "survival"
    input_transform = "log"
    point = "q50"
    error_metric = "concordance"
    support = constraints.real

    @classmethod
    def refuses(cls, facts: ArrayFacts) -> str | None:
        """Refuses what is no single time per row."""
        if facts.kind == "U":
            return "its values are strings; a survival time is a number."
        return None if facts.one_column else f"a survival time is one number per row, not {facts.shape}."

    @classmethod
    def transforms(cls, guessed: str) -> tuple[str, ...]:
        """Times are scored as they are."""
        return ("none",)

    @classmethod
    def check(cls, modality: Modality) -> None:
        """Refuse several times per row: one censored and one not would need two labels."""
        if modality.size != 1 or modality.sequence:
            raise UsageError(f"{modality.name}: a survival time is one number per row; give each a name of its own.")

    @classmethod
    def input_size(cls, modality: Modality) -> int:
        return 2

    @classmethod
    def as_input(cls, modality: Modality, value: Tensor) -> Tensor:
        """The log of the time, standardised, and whether the event happened."""
        flat = value.reshape(len(value), 1)
        log_time = flat.abs().log() if modality.input_scaling is None else modality.input_scaling.of_features(flat)
        return torch.cat([log_time, (flat > 0).to(log_time.dtype)], 1)

    @classmethod
    def parameters(cls, modality: Modality) -> dict[str, Tensor]:
        """How the log of k differs from its first value, over `SPEED`."""
        return {"log_shape": torch.zeros(())}

    def _unit(self) -> tuple[float, float]:
        """Mean and standard deviation of ln t over the training rows, in which the output is meant."""
        scaling = self.modality.input_scaling
        if scaling is None or scaling.shift is None or scaling.spread is None:
            return 0.0, SD_OF_LOG
        return scaling.shift[0], scaling.spread[0]

    @property
    def log_scale(self) -> Tensor:
        """(..., B, 1) ln λ."""
        mean, sd = self._unit()
        return mean + sd * self.output

    @property
    def log_shape(self) -> Tensor:
        """0-d, ln k."""
        return math.log(SD_OF_LOG / self._unit()[1]) + bounded_log_scale(self.learned("log_shape"))

    def log_prob(self, value: Tensor) -> Tensor:
        time, log_shape = self._features(value), self.log_shape
        log_time = time.abs().log()
        power = log_shape.exp() * (log_time - self.log_scale)  # k ln(t/λ)
        within = power.clamp(max=STEEPEST)
        hazard = within.exp() * (1 + power - within)
        return (torch.where(time > 0, log_shape - log_time + power, 0.0) - hazard).sum(-1)

    def from_uniform(self, u: Tensor) -> Tensor:
        log_hazard = torch.log(-torch.log1p(-off_the_ends(u)))
        return self._event(torch.exp(self.log_scale + log_hazard / self.log_shape.exp()))

    @property
    def mean(self) -> Tensor:
        return self._event(torch.exp(self.log_scale + self._log_gamma(1)))

    @property
    def variance(self) -> Tensor:
        first, second = self._log_gamma(1), self._log_gamma(2)
        return self._event(torch.exp(2 * self.log_scale + second) * -torch.expm1(2 * first - second))

    def _log_gamma(self, power: int) -> Tensor:
        """ln E (T/λ)^power."""
        return torch.lgamma(1 + power / self.log_shape.exp())
