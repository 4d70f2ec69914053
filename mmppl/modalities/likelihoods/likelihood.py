"""Likelihoods: how a decoder's output becomes a distribution over one modality.

Each is a Pyro distribution over an event of the modality's shape, built from (modality, output, scale). A new one is a
new class: `@likelihood("name")` makes its name known to schemas and `--as`, from a program file too.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from ..modality import Modality


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


def _inside(u: Tensor) -> Tensor:
    """Uniforms kept off 0 and 1, where an inverse distribution function is infinite."""
    eps = torch.finfo(u.dtype).eps
    return u.clamp(eps / 2, 1 - eps / 2)
