"""A transform with the numbers that it has learned: what brings a modality into model units and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from .transforms import TRANSFORMS, Transform


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
