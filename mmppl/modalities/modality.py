"""A modality: one named kind of observation, and how its numbers in the file become numbers in the model."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from .likelihoods.registry import LIKELIHOODS

Scale = float | Literal["learned", "predicted"]
Transform = Literal["none", "standardise", "image", "log1p"]


@dataclass(frozen=True)
class Modality:
    """Schema of one modality. Plain data: it goes to `run.json` and back.

    Args:
        name: name of the modality; the site name in every program.
        shape: event shape of one sample; () for a single number or class.
        likelihood: name in `mmppl.likelihoods` ("bernoulli", "normal", "laplace", "categorical", or a user's own).
        scale: spread of the likelihood in model units: a number (standard deviation of a Normal, b of a Laplace),
            "learned" (one per feature) or "predicted" (decoder output, Normal only). None: the likelihood's default.
        role: "modality", or "label" (scored like any other; no guide sees it unless its program says so).
        classes: names of the categories of a categorical modality, in the order of their codes.
        transform: how input units became model units: "standardise" (x − shift)/spread, "image" x/255,
            "log1p" (ln(1 + x) − shift)/spread.
        shift, spread: per feature (flattened), for the transforms that have them.
        features: names of the features (flattened), by which the columns of other data are put into this order. None:
            they have none, and are known by their places.
    Raises:
        UsageError: names that are not one per feature; a Laplace on "log1p", whose exponential has no mean from b = 1
            on and no variance from b = 1/2 on.
    """

    name: str
    shape: tuple[int, ...]
    likelihood: str = "normal"
    scale: Scale | None = None
    role: Literal["modality", "label"] = "modality"
    classes: tuple[str | int, ...] | None = None
    transform: Transform = "none"
    shift: tuple[float, ...] | None = None
    spread: tuple[float, ...] | None = None
    features: tuple[str, ...] | None = None
    log_scale: Tensor | None = dataclasses.field(
        default=None, compare=False, repr=False
    )  # a learned scale, bound by a program

    def __post_init__(self) -> None:
        if self.features is not None and not len(self.features) == len(set(self.features)) == self.size:
            raise UsageError(f"{self.name}: {self.size} features need as many names, each its own; name them anew.")
        if self.likelihood == "laplace" and self.transform == "log1p":
            raise UsageError(
                f"{self.name}: a Laplace of b ≥ 1/2 on the log of a count gives it no variance; choose normal, or "
                f"--as {self.name}=laplace:transform=standardise."
            )

    @property
    def size(self) -> int:
        """Number of features of one sample."""
        return math.prod(self.shape)

    @property
    def n_classes(self) -> int:
        return len(self.classes) if self.classes else 0

    @property
    def input_size(self) -> int:
        """Width of `as_input`: one column per feature, or per feature and class."""
        return self.size * (self.n_classes or 1)

    @property
    def output_size(self) -> int:
        """Width of what a decoder must put out for one sample."""
        return LIKELIHOODS[self.likelihood].output_size(self)

    def as_input(self, value: Tensor) -> Tensor:
        """(B, *shape) values → (B, input_size) floats for an encoder; classes become one-hot, unknown codes zeros."""
        if self.classes is None:
            return value.flatten(1) if self.shape else value.unsqueeze(-1)
        codes = torch.arange(self.n_classes, device=value.device)
        one_hot = value.unsqueeze(-1) == codes
        return one_hot.to(torch.get_default_dtype()).flatten(1)

    def to_input_units(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of a Normal in model units, (..., *shape) → the same in the units of the input.

        For "log1p" the moments are those of a log-normal minus one: E e^y = exp(m + v/2).
        """
        if self.transform == "none":
            return mean, variance
        if self.transform == "image":
            return 255.0 * mean, 255.0**2 * variance
        shift, spread = self._affine()
        mean, variance = shift + spread * mean, spread**2 * variance
        if self.transform == "log1p":
            return np.exp(mean + variance / 2) - 1, np.expm1(variance) * np.exp(2 * mean + variance)
        return mean, variance

    def value_in_input_units(self, value: np.ndarray) -> np.ndarray:
        """A point (a draw, a quantile, a data value), (..., *shape), in the units of the input; monotone."""
        if self.transform == "none":
            return value
        if self.transform == "image":
            return 255.0 * value
        shift, spread = self._affine()
        value = shift + spread * value
        return np.expm1(value) if self.transform == "log1p" else value

    def to_model_units(self, value: np.ndarray) -> np.ndarray:
        """Inverse of `value_in_input_units`."""
        if self.transform == "none":
            return value
        if self.transform == "image":
            return value / 255.0
        shift, spread = self._affine()
        return ((np.log1p(value) if self.transform == "log1p" else value) - shift) / spread

    def log_jacobian(self, value: Tensor) -> Tensor:
        """(B, *shape) values in model units → (B,) ln |d model units / d input units| in nats, which turns a
        log-density in model units into one in the units of the input; 0 for what is no density: classes, Bernoullis."""
        if self.transform == "none" or self.likelihood == "bernoulli":
            return torch.zeros(len(value), dtype=torch.float64)
        if self.transform == "image":
            return torch.full((len(value),), -self.size * math.log(255), dtype=torch.float64)
        shift, spread = self._affine()
        logs = -torch.as_tensor(np.log(spread)).expand(value.shape).double()  # of one number, numpy's log is no array
        if self.transform == "log1p":
            logs = logs - (
                torch.from_numpy(shift) + torch.from_numpy(spread) * value.double()
            )  # d ln(1 + x) = dx e^−ln(1+x)
        return logs.reshape(len(value), -1).sum(-1)

    def _affine(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.shift).reshape(self.shape), np.asarray(self.spread).reshape(self.shape)

    def to_json(self) -> dict[str, Any]:
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "log_scale"}
        if self.features is None:  # what has no names is written, and its fingerprint taken, as if there were none
            del kept["features"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Modality:
        kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**kept)


def kind(m: Modality) -> Literal["class", "sequence", "number"]:
    """One class per row, several, or numbers."""
    return "number" if m.classes is None else "sequence" if m.shape else "class"
