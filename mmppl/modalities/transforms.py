"""Transforms from the units of the input to those of the model and back. Each is one entry of `TRANSFORMS`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..base.registry import Registry
from ..errors import UsageError


class Transform:
    """An increasing curve that is applied to every number: y = bend(x), or (bend(x) − shift) / spread where it learns.

    The base class leaves numbers as they are. A new transform is a subclass with other methods, and an instance of it
    is registered: `TRANSFORMS.register("root")(Root())`.

    Attributes:
        learns: whether shift and spread, one of each per feature, are learned from the training rows.
        affine: whether the curve is a line, so that a mean and a variance can be converted by themselves. Where it is
            not, a query converts those of each draw of the latent before it averages.
    """

    learns: ClassVar[bool] = False
    affine: ClassVar[bool] = True

    def bend(self, x: Any) -> Any:
        """Apply the curve to numbers, in an array or a tensor."""
        return x

    def unbend(self, y: Any) -> Any:
        """Apply the inverse of `bend`."""
        return y

    def moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the mean and variance of unbend(Y) where Y is normal.

        Args:
            mean: mean of Y.
            variance: variance of Y.

        Returns:
            Mean and variance of unbend(Y).
        """
        return mean, variance

    def location(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Find the mean of Y from the `moments` of unbend(Y).

        Args:
            mean: mean of unbend(Y).
            sd: standard deviation of unbend(Y).

        Returns:
            Mean of Y.
        """
        return self.bend(mean)

    def log_slope(self, bent: Tensor) -> Tensor | float:
        """ln |d bend / dx| in nats.

        Args:
            bent: bend(x), at whose x the slope is taken.

        Returns:
            The shape of `bent`, or a number where the slope is the same everywhere.
        """
        return 0.0

    def illegal(self, x: np.ndarray) -> tuple[np.ndarray, str]:
        """Find the input numbers that the transform cannot take.

        Args:
            x: numbers in the units of the input.

        Returns:
            A mask of the shape of `x`, and what an error message says after the value of such a number.
        """
        return np.zeros(x.shape, dtype=bool), ""

    def expects(self, dtype: np.dtype) -> str | None:
        """Say what later data have to be, where an array of this type cannot be what the transform was learned on.

        Args:
            dtype: type of the later data's array.

        Returns:
            The end of an error message; None where the type may be right.
        """
        return None


class Standardise(Transform):
    """(x − mean) / standard deviation."""

    learns = True


class Image(Transform):
    """Grey values of so many bits, from 0 to 2^bits − 1, divided by the largest."""

    def __init__(self, bits: int = 8) -> None:
        self.largest = 2.0**bits - 1

    def bend(self, x: Any) -> Any:
        return x / self.largest

    def unbend(self, y: Any) -> Any:
        return self.largest * y

    def moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.largest * mean, self.largest**2 * variance

    def log_slope(self, bent: Tensor) -> float:
        return -math.log(self.largest)

    def illegal(self, x: np.ndarray) -> tuple[np.ndarray, str]:
        return (x < 0) | (x > self.largest), f"is not a grey value from 0 to {self.largest:.0f}."

    def expects(self, dtype: np.dtype) -> str | None:
        return f"whole numbers 0 to {self.largest:.0f}" if dtype.kind == "f" else None


class Log1p(Transform):
    """(ln(1 + x) − mean) / standard deviation, for counts."""

    learns, affine = True, False

    def bend(self, x: Any) -> Any:
        return torch.log1p(x) if isinstance(x, Tensor) else np.log1p(x)

    def unbend(self, y: Any) -> Any:
        return torch.expm1(y) if isinstance(y, Tensor) else np.expm1(y)

    def moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of a log-normal minus one: E e^y = exp(m + v/2)."""
        return np.exp(mean + variance / 2) - 1, np.expm1(variance) * np.exp(2 * mean + variance)

    def location(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        return np.log1p((1 + mean) / np.sqrt(1 + np.square(sd / (1 + mean))) - 1)

    def log_slope(self, bent: Tensor) -> Tensor:
        return -bent  # d ln(1 + x) = dx e^−ln(1 + x)

    def illegal(self, x: np.ndarray) -> tuple[np.ndarray, str]:
        return x < 0, "is negative, and this modality is a count."


def _lacks(transform: Transform) -> list[str]:
    """The methods that a transform has to override because it overrides `bend`, and does not."""
    kind = type(transform)
    if not isinstance(transform, Transform):
        return ["the base class Transform (an instance is registered)"]
    if kind.bend is Transform.bend:
        return []
    needed = ("unbend", "moments", "log_slope", *(() if transform.affine else ("location",)))
    return [name for name in needed if getattr(kind, name) is getattr(Transform, name)]


TRANSFORMS: Registry[Transform] = Registry("transform", __name__, lacks=_lacks)
TRANSFORMS.register("none")(Transform())
TRANSFORMS.register("standardise")(Standardise())
TRANSFORMS.register("image")(Image())
DEPTHS = (10, 12, 14, 16)  # bits of a grey value in two bytes, as cameras and microscopes have them
for depth in DEPTHS:
    TRANSFORMS.register(f"image{depth}")(Image(depth))
TRANSFORMS.register("log1p")(Log1p())


@dataclass(frozen=True)
class Scaling:
    """A transform and the numbers that it has learned.

    Args:
        transform: name of the transform in `TRANSFORMS`.
        shift: subtracted after the bend, one number per feature (flattened); None where the transform learns nothing.
        spread: the divisor after that, one number per feature (flattened); None where the transform learns nothing.
    """

    transform: str = "none"
    shift: tuple[float, ...] | None = None
    spread: tuple[float, ...] | None = None
    _tensors: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def check(self, name: str, size: int) -> None:
        """Check how many numbers there are.

        Args:
            name: the modality, for messages.
            size: its number of features.

        Raises:
            UsageError: they are not one shift and one spread per feature.
        """
        if (self.shift is None) != (self.spread is None):
            raise UsageError(f"{name}: it has a shift or a spread, and not both; give both or neither.")
        if self.shift is not None and self.spread is not None and not len(self.shift) == len(self.spread) == size:
            lengths = f"{len(self.shift)} shifts and {len(self.spread)} spreads"
            raise UsageError(f"{name}: {lengths} for {size} features; give one of each per feature.")

    def check_numbers(self, name: str) -> None:
        """Check the numbers, which are NaN only while illegal values are not yet reported.

        Args:
            name: the modality, for messages.

        Raises:
            UsageError: a shift is not finite, or a spread is not positive.
        """
        if not np.isfinite(np.asarray(self.shift or (), np.float64)).all():
            raise UsageError(f"{name}: a shift is not finite; give a number.")
        spread = np.asarray(self.spread or (), np.float64)
        if not (np.isfinite(spread) & (spread > 0)).all():
            raise UsageError(f"{name}: a spread is not positive and finite; give a positive number.")

    @property
    def curve(self) -> Transform:
        """The transform itself."""
        return TRANSFORMS[self.transform]

    def to_model(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Convert numbers from the units of the input to model units.

        Args:
            x: (..., *shape).
            shape: event shape of the modality.

        Returns:
            (..., *shape).
        """
        bent = self.curve.bend(x)
        if not self.curve.learns:
            return bent
        shift, spread = self._learnt(shape)
        return (bent - shift) / spread

    def to_input(self, y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Convert numbers from model units to the units of the input.

        Args:
            y: (..., *shape).
            shape: event shape of the modality.

        Returns:
            (..., *shape).
        """
        if self.curve.learns:
            shift, spread = self._learnt(shape)
            y = shift + spread * y
        return self.curve.unbend(y)

    def moments(self, mean: np.ndarray, variance: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Convert the moments of a Normal from model units to the units of the input.

        Args:
            mean: (..., *shape).
            variance: (..., *shape).
            shape: event shape of the modality.

        Returns:
            Mean and variance, (..., *shape) each.
        """
        if self.curve.learns:
            shift, spread = self._learnt(shape)
            mean, variance = shift + spread * mean, spread**2 * variance
        return self.curve.moments(mean, variance)

    def location(self, mean: np.ndarray, sd: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Find the mean in model units of the Normal that has these `moments` in the units of the input.

        Args:
            mean: (..., *shape) in the units of the input.
            sd: (..., *shape) in the units of the input.
            shape: event shape of the modality.

        Returns:
            (..., *shape).
        """
        bent = self.curve.location(mean, sd)
        if not self.curve.learns:
            return bent
        shift, spread = self._learnt(shape)
        return (bent - shift) / spread

    def log_jacobian(self, y: Tensor, present: Tensor | None = None) -> Tensor:
        """ln |d model units / d input units| in nats, summed over the event.

        Args:
            y: (B, *shape) numbers in model units.
            present: bool, broadcastable to (B, *shape), the elements that count; None: all.

        Returns:
            (B,) float64.
        """
        shape, bent = y.shape[1:], y.double()
        logs: Tensor | None = None
        if self.curve.learns:
            shift, spread = self._learnt(tuple(shape))
            logs = -torch.as_tensor(np.log(spread)).expand(y.shape).double()  # of one number, numpy's log is no array
            bent = torch.from_numpy(shift) + torch.from_numpy(spread) * bent
        slope = self.curve.log_slope(bent)
        if logs is None and isinstance(slope, float):
            if present is None:
                return torch.full((len(y),), shape.numel() * slope, dtype=torch.float64)
            slope = torch.full_like(bent, slope)
        total = slope if logs is None else logs + slope
        assert isinstance(total, Tensor)
        total = total if present is None else torch.where(present, total, 0.0)
        return total.reshape(len(y), -1).sum(-1)

    def of_features(self, x: Tensor) -> Tensor:
        """Convert flattened features as `to_model` does, by tensor operations on their own device.

        Args:
            x: (..., size) in the units of the input.

        Returns:
            (..., size).
        """
        bent = self.curve.bend(x)
        if not self.curve.learns:
            return bent
        place = (x.dtype, x.device)
        if place not in self._tensors:  # kept, because nothing can be copied to a device while a step is recorded
            self._tensors[place] = tuple(torch.tensor(part, dtype=x.dtype, device=x.device) for part in self._both())  # type: ignore[assignment]
        shift, spread = self._tensors[place]
        return (bent - shift) / spread

    def to_json(self) -> dict[str, Any]:
        """Return the scaling as JSON data, as `Modality.to_json` writes it."""
        return {
            "transform": self.transform,
            "shift": None if self.shift is None else list(self.shift),
            "spread": None if self.spread is None else list(self.spread),
        }

    def _both(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if self.shift is None or self.spread is None:
            raise ValueError(f"{self.transform} has learnt no shift and spread yet; take the schema from data.")
        return self.shift, self.spread

    def _learnt(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        shift, spread = self._both()
        return np.asarray(shift).reshape(shape), np.asarray(spread).reshape(shape)
