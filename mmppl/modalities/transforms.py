"""Transforms from the units of the input to those of the model and back, each one entry of `TRANSFORMS`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..base.registry import Registry


class Transform:
    """An increasing curve that every number follows: y = bend(x), or (bend(x) − shift) / spread where it learns.

    This one leaves numbers as they are. A new transform is a subclass with other methods, registered as an instance:
    `TRANSFORMS.register("root")(Root())`.

    Class attributes:
        learns: whether shift and spread, one of each per feature, are learnt from the training rows.
        affine: whether the curve is a line, so that a mean and a variance are carried over by themselves. Where it is
            not, a query carries over those of each draw of the latent before it averages.
    """

    learns: ClassVar[bool] = False
    affine: ClassVar[bool] = True

    def bend(self, x: Any) -> Any:
        """The curve at numbers x, an array or a tensor."""
        return x

    def unbend(self, y: Any) -> Any:
        """The inverse of `bend`."""
        return y

    def moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of unbend(Y) where Y is normal with this mean and variance."""
        return mean, variance

    def location(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """The mean of Y whose `moments` are this mean and the square of this standard deviation."""
        return self.bend(mean)

    def log_slope(self, bent: Tensor) -> Tensor | float:
        """ln |d bend / dx| at the x whose bend is `bent`, in nats: a number where it is the same everywhere."""
        return 0.0

    def illegal(self, x: np.ndarray) -> tuple[np.ndarray, str]:
        """Which of these input numbers the transform cannot take, and what to say of them after their value."""
        return np.zeros(x.shape, dtype=bool), ""

    def expects(self, dtype: np.dtype) -> str | None:
        """What data that answer to a run's schema have to be where this type cannot be right; None: it can."""
        return None


class Standardise(Transform):
    """(x − mean) / standard deviation."""

    learns = True


class Image(Transform):
    """Grey values from 0 to 255, divided by 255."""

    def bend(self, x: Any) -> Any:
        return x / 255.0

    def unbend(self, y: Any) -> Any:
        return 255.0 * y

    def moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 255.0 * mean, 255.0**2 * variance

    def log_slope(self, bent: Tensor) -> float:
        return -math.log(255)

    def illegal(self, x: np.ndarray) -> tuple[np.ndarray, str]:
        return (x < 0) | (x > 255), "is not a grey value from 0 to 255."

    def expects(self, dtype: np.dtype) -> str | None:
        return "whole numbers 0 to 255" if dtype.kind == "f" else None


class Log1p(Transform):
    """(ln(1 + x) − mean) / standard deviation, of counts."""

    learns, affine = True, False

    def bend(self, x: Any) -> Any:
        return torch.log1p(x) if isinstance(x, Tensor) else np.log1p(x)

    def unbend(self, y: Any) -> Any:
        return torch.expm1(y) if isinstance(y, Tensor) else np.expm1(y)

    def moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of a log-normal, less one: E e^y = exp(m + v/2)."""
        return np.exp(mean + variance / 2) - 1, np.expm1(variance) * np.exp(2 * mean + variance)

    def location(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        return np.log1p((1 + mean) / np.sqrt(1 + np.square(sd / (1 + mean))) - 1)

    def log_slope(self, bent: Tensor) -> Tensor:
        return -bent  # d ln(1 + x) = dx e^−ln(1 + x)

    def illegal(self, x: np.ndarray) -> tuple[np.ndarray, str]:
        return x < 0, "is negative, and this modality is a count."


def _lacks(transform: Transform) -> list[str]:
    """The methods that a transform has to change with `bend`, and has not."""
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
TRANSFORMS.register("log1p")(Log1p())


@dataclass(frozen=True)
class Scaling:
    """A transform and what it has learnt.

    Args:
        transform: its name in `TRANSFORMS`.
        shift: what is taken off after the bend, per feature (flattened); None where it learns nothing.
        spread: by what is divided then, likewise.
    """

    transform: str = "none"
    shift: tuple[float, ...] | None = None
    spread: tuple[float, ...] | None = None
    _tensors: dict[Any, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def curve(self) -> Transform:
        """The transform itself."""
        return TRANSFORMS[self.transform]

    def to_model(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers (..., *shape) of the input in the units of the model."""
        bent = self.curve.bend(x)
        if not self.curve.learns:
            return bent
        shift, spread = self._learnt(shape)
        return (bent - shift) / spread

    def to_input(self, y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers (..., *shape) of the model in the units of the input."""
        if self.curve.learns:
            shift, spread = self._learnt(shape)
            y = shift + spread * y
        return self.curve.unbend(y)

    def moments(self, mean: np.ndarray, variance: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance (..., *shape) of a Normal of the model in the units of the input."""
        if self.curve.learns:
            shift, spread = self._learnt(shape)
            mean, variance = shift + spread * mean, spread**2 * variance
        return self.curve.moments(mean, variance)

    def location(self, mean: np.ndarray, sd: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The mean of a Normal of the model that `moments` makes this mean and this standard deviation of."""
        bent = self.curve.location(mean, sd)
        if not self.curve.learns:
            return bent
        shift, spread = self._learnt(shape)
        return (bent - shift) / spread

    def log_jacobian(self, y: Tensor) -> Tensor:
        """(B, *shape) numbers of the model → (B,) ln |d model units / d input units| in nats, summed over the event."""
        shape, bent = y.shape[1:], y.double()
        logs: Tensor | None = None
        if self.curve.learns:
            shift, spread = self._learnt(tuple(shape))
            logs = -torch.as_tensor(np.log(spread)).expand(y.shape).double()  # of one number, numpy's log is no array
            bent = torch.from_numpy(shift) + torch.from_numpy(spread) * bent
        slope = self.curve.log_slope(bent)
        if logs is None and isinstance(slope, float):
            return torch.full((len(y),), shape.numel() * slope, dtype=torch.float64)
        total = slope if logs is None else logs + slope
        assert isinstance(total, Tensor)
        return total.reshape(len(y), -1).sum(-1)

    def of_features(self, x: Tensor) -> Tensor:
        """(..., size) flattened features → the same as `to_model` has them, by tensor operations on their device."""
        bent = self.curve.bend(x)
        if not self.curve.learns:
            return bent
        place = (x.dtype, x.device)
        if place not in self._tensors:  # kept: nothing is copied to a device while a step is recorded
            self._tensors[place] = tuple(torch.tensor(part, dtype=x.dtype, device=x.device) for part in self._both())  # type: ignore[assignment]
        shift, spread = self._tensors[place]
        return (bent - shift) / spread

    def to_json(self) -> dict[str, Any]:
        """What `Modality.to_json` writes."""
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
