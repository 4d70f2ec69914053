"""Laplace likelihood."""

from __future__ import annotations

import torch
from pyro.distributions import constraints
from torch import Tensor

from ...base.random import off_the_ends
from ...errors import UsageError
from ...kernels.likelihood import laplace_log_density
from ..modality import Modality
from .likelihood import Likelihood
from .registry import likelihood


@likelihood("laplace")
class LaplaceLikelihood(Likelihood):
    """Independent Laplaces. The scale is b, "learned" per feature (the default), or "shared", learned for all features
    (the default of images).
    """

    values = "numbers"
    calibrates_noise = True
    default_scale = "learned"
    scales = ("learned", "shared")
    masks = True
    elements = True
    support = constraints.real
    point = "q50"  # the absolute error is least there

    @classmethod
    def check(cls, modality: Modality) -> None:
        """Refuse logarithms: the exponential of a Laplace has no mean from b = 1 on and no variance from b = 1/2 on."""
        if modality.transform in ("log1p", "log"):
            raise UsageError(
                f"{modality.name}: a Laplace of b ≥ 1/2 on the log of a count gives it no variance; choose normal, or "
                f"--as {modality.name}=laplace:transform=standardise."
            )

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        return laplace_log_density(self._features(value), self.given, self._log_scale(), mask, self._stretches())

    def _b(self) -> Tensor:
        log_scale = self._of_every_step(self._log_scale())
        return torch.as_tensor(log_scale, dtype=self.output.dtype, device=self.output.device).exp()

    def from_uniform(self, u: Tensor) -> Tensor:
        centred = off_the_ends(u) - 0.5
        return self._event(self.output - self._b() * centred.sign() * torch.log1p(-2 * centred.abs()))

    @property
    def mean(self) -> Tensor:
        return self._event(self.output)

    @property
    def variance(self) -> Tensor:
        return self._event((2 * self._b().square()).expand(self.output.shape))
