"""Transforms from the units of the input to those of the model and back. Each is one entry of `TRANSFORMS`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..base.registry import Registry


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


class Log(Transform):
    """(ln x − mean) / standard deviation, for positive numbers, such as times.

    The sign of a survival time says whether it is censored (`WeibullLikelihood`): an encoder is shown ln |x|.
    """

    learns, affine = True, False

    def bend(self, x: Any) -> Any:
        return torch.log(x.abs()) if isinstance(x, Tensor) else np.log(np.abs(x))

    def unbend(self, y: Any) -> Any:
        return torch.exp(y) if isinstance(y, Tensor) else np.exp(y)

    def moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of a log-normal: E e^y = exp(m + v/2)."""
        return np.exp(mean + variance / 2), np.expm1(variance) * np.exp(2 * mean + variance)

    def location(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        return np.log(mean / np.sqrt(1 + np.square(sd / mean)))

    def log_slope(self, bent: Tensor) -> Tensor:
        return -bent  # d ln x = dx e^−ln x

    def illegal(self, x: np.ndarray) -> tuple[np.ndarray, str]:
        return x <= 0, "is not positive, and has no logarithm; correct or mask it, or choose another transform."


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
TRANSFORMS.register("log")(Log())
