"""Likelihoods: how a decoder's output becomes a distribution over one modality.

Each is a Pyro distribution over an event of the modality's shape, built from (modality, output, scale). A new one is a
new class: `@likelihood("name")` makes its name known to schemas and `--as`, from a program file too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from ...errors import UsageError, suggest
from ...kernels.categorical import categorical_log_density
from ...kernels.likelihood import (
    LOG_VAR_RANGE,
    bernoulli_log_density,
    laplace_log_density,
    normal_log_density,
    normal_predicted_log_density,
)
from ..modality import Modality

LIKELIHOODS: dict[str, type[Likelihood]] = {}


def likelihood(name: str) -> Callable[[type[Likelihood]], type[Likelihood]]:
    """Class decorator that makes a likelihood known by name."""

    def add(cls: type[Likelihood]) -> type[Likelihood]:
        LIKELIHOODS[name] = cls
        return cls

    return add


def likelihood_of(modality: Modality) -> type[Likelihood]:
    """The class behind `modality.likelihood`; UsageError for an unknown name."""
    try:
        return LIKELIHOODS[modality.likelihood]
    except KeyError:
        known = sorted(LIKELIHOODS)
        raise UsageError(
            f"{modality.name}: no likelihood {modality.likelihood!r}; known are {', '.join(known)}."
            + suggest(modality.likelihood, known)
        ) from None


class Likelihood(TorchDistribution):
    """Distribution over one modality of batch shape (..., B) and event shape `modality.shape`.

    Args:
        modality: what is scored.
        output: (..., B, output_size) decoder output.
        scale: overrides the modality's scale; a number or a (size,) tensor, in model units.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    default_scale: ClassVar[float | None] = None
    scales: ClassVar[tuple[str, ...]] = ()  # which words `Modality.scale` may be, besides a number
    masks: ClassVar[bool] = False  # log_prob takes mask=, (..., B) bool, and leaves the other rows out of its work

    def __init__(self, modality: Modality, output: Tensor, scale: float | Tensor | None = None) -> None:
        if output.shape[-1] != self.output_size(modality):
            raise ValueError(
                f"{modality.name}: {type(self).__name__} takes {self.output_size(modality)} decoder outputs, "
                f"got {output.shape[-1]}. Size the decoder with modality.output_size."
            )
        self.dtype = torch.promote_types(output.dtype, torch.float32)  # of densities: sums over features need it
        self.given = output.float() if output.dtype == torch.float16 else output  # kernels read bfloat16 themselves
        self.modality, self.scale = modality, scale
        super().__init__(output.shape[:-1], torch.Size(modality.shape), validate_args=False)

    @cached_property
    def output(self) -> Tensor:
        """The decoder's output in that dtype."""
        return self.given.to(self.dtype)

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        """Decoder outputs per sample."""
        return modality.size

    def log_prob(self, value: Tensor) -> Tensor:
        """(B, *shape) → (..., B) nats, summed over the event."""
        raise NotImplementedError

    def from_uniform(self, u: Tensor) -> Tensor:
        """(..., B, size) uniforms → draws (..., B, *shape), by the inverse distribution function."""
        raise NotImplementedError

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        shape = (*sample_shape, *self.batch_shape, self.modality.size)
        with torch.no_grad():
            return self.from_uniform(torch.rand(shape, dtype=self.output.dtype, device=self.output.device))

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Likelihood:
        output = self.given.expand(*batch_shape, self.given.shape[-1])
        return type(self)(self.modality, output, self.scale)

    def _flat(self, value: Tensor) -> Tensor:
        """(..., *shape) → (..., size)."""
        lead = value.shape[: value.ndim - len(self.modality.shape)]
        return value.reshape(*lead, self.modality.size)

    def _features(self, value: Tensor) -> Tensor:
        """The same, in the dtype of densities."""
        return self._flat(value).to(self.dtype)

    def _event(self, flat: Tensor) -> Tensor:
        """(..., size) → (..., *shape)."""
        return flat.reshape(*flat.shape[:-1], *self.modality.shape)

    def _log_scale(self) -> float | Tensor:
        """Natural log of the scale: a number, or (size,) for a learned one."""
        scale = self.scale if self.scale is not None else self.modality.scale
        if isinstance(scale, str) and scale == "learned":
            if self.modality.log_scale is None:
                raise ValueError(f"{self.modality.name}: a learned scale needs a modality bound by its program.")
            return self.modality.log_scale.to(self.dtype)
        if isinstance(scale, Tensor):
            return scale.log().to(self.dtype)
        return math.log(scale if scale is not None else self.default_scale)  # type: ignore[arg-type]


@likelihood("bernoulli")
class Bernoulli(Likelihood):
    """Independent Bernoullis by logits; grey values in [0, 1] are scored as probabilities."""

    masks = True
    support = constraints.independent(constraints.unit_interval, 0)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        return bernoulli_log_density(self.given, self._features(value), mask)

    def from_uniform(self, u: Tensor) -> Tensor:
        return self._event((u >= torch.sigmoid(-self.output)).to(self.output.dtype))

    @property
    def mean(self) -> Tensor:
        return self._event(torch.sigmoid(self.output))

    @property
    def variance(self) -> Tensor:
        p = torch.sigmoid(self.output)
        return self._event(p * (1 - p))


@likelihood("normal")
class Normal(Likelihood):
    """Independent Normals; scale = a standard deviation, "learned" per feature, or "predicted" by the decoder
    (the second half of its output is the log-variance, clamped to LOG_VAR_RANGE)."""

    default_scale = 1.0
    scales = ("learned", "predicted")
    masks = True
    support = constraints.real

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        return modality.size * (2 if modality.scale == "predicted" else 1)

    def _loc_log_var(self) -> tuple[Tensor, Tensor | float]:
        if self.scale is None and self.modality.scale == "predicted":
            loc, log_var = self.output.chunk(2, -1)
            return loc, log_var.clamp(*LOG_VAR_RANGE)
        log_scale = self._log_scale()
        return self.output[..., : self.modality.size], 2 * log_scale

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self._features(value)
        if self.scale is None and self.modality.scale == "predicted":
            return normal_predicted_log_density(x, self.given, mask)
        return normal_log_density(x, self.given, 2 * self._log_scale(), mask)

    def from_uniform(self, u: Tensor) -> Tensor:
        loc, log_var = self._loc_log_var()
        sd = math.exp(0.5 * log_var) if isinstance(log_var, float) else torch.exp(0.5 * log_var)
        return self._event(loc + sd * torch.special.ndtri(_inside(u)))

    @property
    def mean(self) -> Tensor:
        return self._event(self._loc_log_var()[0])

    @property
    def variance(self) -> Tensor:
        loc, log_var = self._loc_log_var()
        variance = torch.as_tensor(log_var, dtype=loc.dtype, device=loc.device).exp()
        return self._event(variance.expand(loc.shape))


@likelihood("laplace")
class Laplace(Likelihood):
    """Independent Laplaces; scale = b, or "learned" per feature."""

    default_scale = 0.75  # Shi et al. 2019, arXiv:1911.03393
    scales = ("learned",)
    masks = True
    support = constraints.real

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        return laplace_log_density(self._features(value), self.given, self._log_scale(), mask)

    def _b(self) -> Tensor:
        log_scale = self._log_scale()
        return torch.as_tensor(log_scale, dtype=self.output.dtype, device=self.output.device).exp()

    def from_uniform(self, u: Tensor) -> Tensor:
        centred = _inside(u) - 0.5
        return self._event(self.output - self._b() * centred.sign() * torch.log1p(-2 * centred.abs()))

    @property
    def mean(self) -> Tensor:
        return self._event(self.output)

    @property
    def variance(self) -> Tensor:
        return self._event((2 * self._b().square()).expand(self.output.shape))


@likelihood("categorical")
class Categorical(Likelihood):
    """One class (a label), or one class per position of a sequence; values are codes into `modality.classes`."""

    masks = True
    support = constraints.nonnegative_integer

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        return modality.size * modality.n_classes

    @property
    def logits(self) -> Tensor:
        """(..., size, K), unnormalised."""
        return self._by_class(self.output)

    def _by_class(self, output: Tensor) -> Tensor:
        return output.unflatten(-1, (self.modality.size, self.modality.n_classes))

    @property
    def probs(self) -> Tensor:
        """(..., *shape, K)."""
        probs = torch.softmax(self.logits, -1)
        return probs.reshape(*probs.shape[:-2], *self.modality.shape, self.modality.n_classes)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        return categorical_log_density(self._by_class(self.given), self._flat(value), mask)

    def from_uniform(self, u: Tensor) -> Tensor:
        below = torch.softmax(self.logits, -1).cumsum(-1)
        below = below / below[..., -1:]
        return self._event((u.unsqueeze(-1) >= below[..., :-1]).sum(-1))

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("classes have no mean; use probs")

    variance = mean


def _inside(u: Tensor) -> Tensor:
    """Uniforms kept off 0 and 1, where an inverse distribution function is infinite."""
    eps = torch.finfo(u.dtype).eps
    return u.clamp(eps / 2, 1 - eps / 2)
