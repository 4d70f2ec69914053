"""What a program learns for a likelihood: its noise, the log-scale of a Normal or Laplace, and other parameters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from ..images import is_image
from .state import calibration_of

if TYPE_CHECKING:
    from ..modality import Modality

LOWEST, HIGHEST = math.log(1e-3), math.log(1e3)
"""Bounds of a learned log-scale, in model units: a constant or duplicated column has no optimum above 0."""

SPEED = 10.0
"""How many times faster than a weight a log-scale moves. The steps of Adam do not depend on the scale of a parameter,
so the parameter that moves is the log-scale divided by this number."""


def bounded_log_scale(raw: Tensor, lowest: float = LOWEST, highest: float = HIGHEST) -> Tensor:
    """Read a learned parameter as a log-scale: SPEED · raw, kept within bounds.

    The parameter begins at 0, a scale of 1, which is the spread of standardised data. So the noise falls only as far as
    residuals have fallen: a smaller one would drown the KL before the decoder knows anything, and a slower one would
    leave a decoder of few features with nothing to gain from the latent. At a bound the gradient still passes where it
    leads back inside, and is 0 where it leads outwards, so that the parameter neither sticks nor drifts away.

    Args:
        raw: the parameter, of any shape.
        lowest: the lower bound.
        highest: the upper bound.

    Returns:
        Natural log of the scale, in the same shape.

    Example:
        >>> bounded_log_scale(torch.tensor([0.0, 0.1, -5.0])).exp()
        tensor([1.0000e+00, 2.7183e+00, 1.0000e-03])
    """
    bounded: Tensor = _Bounded.apply(raw, lowest, highest)
    return bounded


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, raw: Tensor, lowest: float, highest: float) -> Tensor:
        ctx.save_for_backward(raw)
        ctx.bounds = lowest, highest
        return (SPEED * raw).clamp(lowest, highest)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (raw,) = ctx.saved_tensors
        lowest, highest = ctx.bounds
        outwards = ((SPEED * raw < lowest) & (g > 0)) | ((SPEED * raw > highest) & (g < 0))
        return torch.where(outwards, 0.0, SPEED * g), None, None


class LearnedParts:
    """The part of a likelihood that reads what its program has learned: scale, other parameters, calibration.

    Attributes:
        calibrates_noise: whether `variance` is proportional to the square of the scale that `_log_scale` returns, so
            that a factor calibrates it.
        fixable: the fields of `Modality` beside `scale` by which a user may fix what is learned else; keys of `--as`.
    """

    calibrates_noise: ClassVar[bool] = False
    fixable: ClassVar[tuple[str, ...]] = ()
    default_scale: ClassVar[float | str | None] = None
    scales: ClassVar[tuple[str, ...]] = ()
    modality: Modality
    scale: float | Tensor | None
    dtype: torch.dtype

    @classmethod
    def parameters(cls, modality: Modality) -> dict[str, Tensor]:
        """The parameters that a program learns for a modality: their first values by name. `learned` reads them."""
        shapes = {"learned": (modality.features_of_step,), "shared": ()}
        scale = cls.scale_of(modality)
        return {"log_scale": torch.zeros(shapes[scale])} if isinstance(scale, str) and scale in shapes else {}

    @classmethod
    def scale_of(cls, modality: Modality) -> float | str | None:
        """The scale of a modality, or the default where it names none: of an image "shared" instead of "learned".

        Many pixels of an image may be constant, and would each drive a scale of their own to its bound. One for all is
        the mean over pixels (Rybkin et al. 2021, arXiv:2006.13202).
        """
        if modality.scale is None and cls.default_scale == "learned" and is_image(modality):
            return "shared"
        return cls.default_scale if modality.scale is None else modality.scale

    @classmethod
    def calibration(cls, modality: Modality) -> Tensor | None:
        """What a calibration after training may set, at the value that changes nothing; None: nothing. By default the
        log of a factor of each learned scale, or of a shared scale, where the scale is no number.
        """
        scale = cls.scale_of(modality)
        if not cls.calibrates_noise or not isinstance(scale, str):
            return None
        return torch.zeros(() if scale == "shared" else (modality.features_of_step,))

    def _scale(self) -> float | str | Tensor | None:
        """The scale that is overridden, or that of the modality."""
        return self.scale_of(self.modality) if self.scale is None else self.scale

    def _calibration(self) -> Tensor | None:
        """What calibration has set, in the dtype of densities; None: nothing."""
        found = None if self.scale is not None else calibration_of(self.modality.learned)
        return None if found is None else found.to(self.dtype)

    def _of_every_step(self, numbers: Any) -> Any:
        """One number per feature of a step, repeated for each step of a sequence; anything else as it is."""
        m = self.modality
        if m.sequence and isinstance(numbers, Tensor) and numbers.shape == (m.features_of_step,):
            return numbers.repeat(m.shape[0])
        return numbers

    def _log_scale(self) -> float | Tensor:
        """Natural log of the scale: a number, or where it is learned 0-d or (size,), of sequences (F,)."""
        scale = self._scale()
        if isinstance(scale, str):
            log_scale, factor = bounded_log_scale(self.learned("log_scale")), self._calibration()
            return log_scale if factor is None else (log_scale + factor).clamp_min(LOWEST)
        if isinstance(scale, Tensor):
            return scale.log().to(self.dtype)
        return math.log(scale)  # type: ignore[arg-type]

    def _log_learned(self, name: str, lowest: float, highest: float) -> float | Tensor:
        """Natural log of a scale that is no noise, such as a concentration: of the number that the modality names, or
        the learned parameter of that name, within bounds; its shape is that of `_log_scale`."""
        scale = self._scale()
        if isinstance(scale, str):
            return bounded_log_scale(self.learned(name), lowest, highest)
        return scale.log().to(self.dtype) if isinstance(scale, Tensor) else math.log(scale)  # type: ignore[arg-type]

    def learned(self, name: str) -> Tensor:
        """Return one of the learned `parameters`, in the dtype of densities.

        Args:
            name: name of the parameter.

        Returns:
            The parameter.

        Raises:
            ValueError: no program has bound the modality, or it has no such parameter.
        """
        if self.modality.learned is None:
            raise ValueError(f"{self.modality.name}: a learned {name} needs a modality bound by its program.")
        if name not in self.modality.learned:
            raise ValueError(f"{self.modality.name}: {type(self).__name__} names no parameter {name!r} to learn.")
        return self.modality.learned[name].to(self.dtype)
