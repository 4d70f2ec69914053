"""A modality: one named kind of observation, and how its numbers in the file become numbers in the model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from .likelihoods.registry import LIKELIHOODS
from .transforms import Scaling

if TYPE_CHECKING:
    from .likelihoods.likelihood import Likelihood

Scale = float | Literal["learned", "predicted"]


@dataclass(frozen=True)
class Modality:
    """Schema of one modality. Plain data: it goes to `run.json` and back.

    Args:
        name: name of the modality; the site name in every program.
        shape: event shape of one sample; () for a single number or class.
        likelihood: name in `mmppl.modalities.likelihoods` or of a user's own.
        scale: spread of the likelihood in model units: a number (standard deviation of a Normal, b of a Laplace),
            "learned" (one per feature) or "predicted" (decoder output, Normal only). None: the likelihood's default.
        role: "modality", or "label" (scored like any other; no guide sees it unless its program says so).
        classes: names of the categories of a categorical modality, in the order of their codes.
        transform: how input units became model units: "standardise" (x − shift)/spread, "image" x/255,
            "log1p" (ln(1 + x) − shift)/spread, "none", or another name of `mmppl.modalities.transforms.TRANSFORMS`.
        shift, spread: per feature (flattened), for the transforms that have them.
        features: names of the features (flattened), by which the columns of other data are put into this order. None:
            they have none, and are known by their places.
        input_scaling: how an encoder sees what the likelihood scores; None: as it is.
        learned: parameters of the likelihood that a program learns, by name; bound by the program.
    Raises:
        UsageError: names that are not one per feature; what the likelihood cannot be scored on (`Likelihood.check`).
    """

    name: str
    shape: tuple[int, ...]
    likelihood: str = "normal"
    scale: Scale | None = None
    role: Literal["modality", "label"] = "modality"
    classes: tuple[str | int, ...] | None = None
    transform: str = "none"
    shift: tuple[float, ...] | None = None
    spread: tuple[float, ...] | None = None
    features: tuple[str, ...] | None = None
    input_scaling: Scaling | None = None
    learned: Mapping[str, Tensor] | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.features is not None and not len(self.features) == len(set(self.features)) == self.size:
            raise UsageError(f"{self.name}: {self.size} features need as many names, each its own; name them anew.")
        if self.likelihood in LIKELIHOODS:  # a run's may be known only once its program has been loaded
            self.family.check(self)

    @property
    def family(self) -> type[Likelihood]:
        """The class of its likelihood, which says what there is to know of it.

        Raises:
            UsageError: there is none of that name (yet).
        """
        return LIKELIHOODS[self.likelihood]

    @property
    def drawn(self) -> Literal["image", "curve", "text"]:
        """What a value looks like in a figure."""
        return self.family.drawn(self)

    @property
    def scaling(self) -> Scaling:
        """How input units became model units."""
        return Scaling(self.transform, self.shift, self.spread)

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
        return self.family.input_size(self)

    @property
    def output_size(self) -> int:
        """Width of what a decoder must put out for one sample."""
        return self.family.output_size(self)

    def as_input(self, value: Tensor) -> Tensor:
        """(B, *shape) values → (B, input_size) floats for an encoder; classes become one-hot, unknown codes zeros."""
        return self.family.as_input(self, value)

    def to_input_units(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of a Normal in model units, (..., *shape) → the same in the units of the input.

        For "log1p" the moments are those of a log-normal minus one: E e^y = exp(m + v/2).
        """
        return self.scaling.moments(mean, variance, self.shape)

    def value_in_input_units(self, value: np.ndarray) -> np.ndarray:
        """A point (a draw, a quantile, a data value), (..., *shape), in the units of the input; monotone."""
        return self.scaling.to_input(value, self.shape)

    def to_model_units(self, value: np.ndarray) -> np.ndarray:
        """Inverse of `value_in_input_units`."""
        return self.scaling.to_model(value, self.shape)

    def location_in_model_units(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """The mean in model units of what has this mean and standard deviation, (..., *shape), in those of the input:
        inverse of `to_input_units`."""
        return self.scaling.location(mean, sd, self.shape)

    def log_jacobian(self, value: Tensor) -> Tensor:
        """(B, *shape) values in model units → (B,) ln |d model units / d input units| in nats, which turns a
        log-density in model units into one in the units of the input; 0 for what is no density: classes, Bernoullis."""
        if not self.family.density:
            return torch.zeros(len(value), dtype=torch.float64)
        return self.scaling.log_jacobian(value)

    def to_json(self) -> dict[str, Any]:
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "learned"}
        for name in ("features", "input_scaling"):  # what has none is written, and its fingerprint taken, without
            if kept[name] is None:
                del kept[name]
        if self.input_scaling is not None:
            kept["input_scaling"] = self.input_scaling.to_json()
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Modality:
        kept = _tuples(data)
        if kept.get("input_scaling") is not None:
            kept["input_scaling"] = Scaling(**_tuples(kept["input_scaling"]))
        return cls(**kept)


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}


def kind(m: Modality) -> Literal["class", "sequence", "number"]:
    """One class per row, several, or numbers."""
    return "number" if m.family.values != "classes" else "sequence" if m.shape else "class"
