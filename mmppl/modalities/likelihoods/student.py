"""Student's t likelihood."""

from __future__ import annotations

import math

import torch
from pyro.distributions import constraints
from torch import Tensor

from ...base.random import off_the_ends
from ...errors import UsageError
from ...kernels.likelihood import student_log_density
from ..modality import Modality
from .likelihood import Likelihood
from .noise import SPEED, bounded_log_scale
from .registry import likelihood

LOG_DF = "log_degrees"
LEAST = 2  # degrees of freedom, above which the variance is finite
LOWEST, HIGHEST = math.log(0.1), math.log(1e3)
"""Bounds of ln(ν − 2): the variance is finite, and at most 21 times the squared scale."""
FIRST = math.log(3.0)  # ν = 5


@likelihood("student")
class StudentLikelihood(Likelihood):
    """Independent Student's t around the decoder's output, for numbers of which some lie far out. The scale s is
    "learned" per feature (the default), "shared", learned for all features, or a number. The degrees of freedom ν > 2
    are learned, per feature where the scale is, unless the modality names them (`df`).
    """

    values = "numbers"
    calibrates_noise = True
    fixable = ("df",)
    default_scale = "learned"
    scales = ("learned", "shared")
    masks = True
    elements = True
    support = constraints.real

    @classmethod
    def transforms(cls, guessed: str) -> tuple[str, ...]:
        """Never log1p: the exponential of a Student has no mean."""
        return tuple(
            name for name in super().transforms("standardise" if guessed == "log1p" else guessed) if name != "log1p"
        )

    @classmethod
    def check(cls, modality: Modality) -> None:
        if modality.df is not None and not LEAST < modality.df < math.inf:
            raise UsageError(
                f"{modality.name}: {modality.df:g} degrees of freedom; give a number above {LEAST}, as a Student has a "
                "variance only there, or leave df out, so that they are learned."
            )
        if modality.transform == "log1p":
            raise UsageError(
                f"{modality.name}: a Student on the log of a count gives it no mean; choose nb, or "
                f"--as {modality.name}=student:transform=standardise."
            )

    @classmethod
    def parameters(cls, modality: Modality) -> dict[str, Tensor]:
        found = super().parameters(modality)
        if modality.df is not None:
            return found
        shape = found["log_scale"].shape if found else ()
        return found | {LOG_DF: torch.full(shape, FIRST / SPEED)}

    def _log_df(self) -> Tensor | float:
        """ln(ν − 2): a number, or where it is learned 0-d or one for each feature."""
        if self.modality.df is not None:
            return math.log(self.modality.df - LEAST)
        return bounded_log_scale(self.learned(LOG_DF), LOWEST, HIGHEST)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self._features(value)
        return student_log_density(x, self.given, self._log_scale(), self._log_df(), mask, self._stretches())

    def _wide(self, numbers: float | Tensor) -> Tensor:
        """e^numbers in float64, one for each feature."""
        return torch.as_tensor(self._of_every_step(numbers), dtype=torch.float64, device=self.output.device).exp()

    def from_uniform(self, u: Tensor) -> Tensor:
        from scipy import special

        df = (LEAST + self._wide(self._log_df())).detach()
        u = off_the_ends(u)
        quantile = torch.from_numpy(special.stdtrit(df.cpu().numpy(), u.double().cpu().numpy())).to(u.device)
        return self._event(self.output + (self._wide(self._log_scale()) * quantile).to(self.output.dtype))

    @property
    def mean(self) -> Tensor:
        return self._event(self.output)

    @property
    def variance(self) -> Tensor:
        df = LEAST + self._wide(self._log_df())
        variance = self._wide(self._log_scale()).square() * df / (df - 2)
        return self._event(variance.to(self.output.dtype).expand(self.output.shape))
