"""A modality: one named kind of observation, and how its numbers in the file become numbers in the model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..base.typed_json import from_json
from ..errors import UsageError
from .likelihoods.registry import LIKELIHOODS
from .scaling import Scaling

if TYPE_CHECKING:
    from .likelihoods.likelihood import Likelihood

Scale = float | Literal["learned", "shared", "predicted"]
Role = Literal["modality", "label", "condition"]
LARGEST = 2**40  # numbers of one sample


@dataclass(frozen=True)
class Modality:
    """Schema of one modality. It is plain data, which goes to `run.json` and back.

    Args:
        name: name of the modality, and of its site in every program.
        shape: event shape of one sample; () for a single number or class.
        likelihood: name of a likelihood, one of `mmppl.modalities.likelihoods` or a user's own.
        scale: spread of the likelihood in model units: a number (standard deviation of a Normal, b of a Laplace, s of a
            Student; inverse dispersion of an NB, concentration of a Beta), "learned" (one per feature), "shared"
            (learned, one for all features) or "predicted" (by the decoder; Normal only). None: the likelihood's
            default, "learned", and of images "shared".
        role: "modality"; "label" (scored like any other; no guide sees it unless its program says so); or "condition",
            such as batch, site or age: encoders and decoders see it, nothing scores, predicts or hides it.
        classes: names of the categories of a categorical modality, in the order of their codes.
        transform: how input units became model units: "standardise" (x − shift)/spread, "image" x/255,
            "log1p" (ln(1 + x) − shift)/spread, "log" (ln x − shift)/spread, "none", or another name of
            `mmppl.modalities.transforms.TRANSFORMS`.
        shift: one number per feature (flattened), for the transforms that have it.
        spread: one number per feature (flattened), for the transforms that have it.
        features: names of the features (flattened), by which the columns of other data are brought into this order.
            None: the features have no names and are known by their places.
        input_scaling: how the values that the likelihood scores become an encoder's input; None: they stay as they are.
        sequence: whether a row is a series of at most T steps of F features, shape (T, F), of which a row may have
            fewer than T. Encoders then see F + 1 numbers of each step, the last of which says whether it exists; a
            learned scale is one per F features, and the steps share it.
        event: of a survival time, the name of the array that says whether the event happened (1) or the row was last
            seen without it (0); the time of the latter has a negative sign in the model.
        event_missing: the values of that array that stand for "missing", as `missing` has those of the time.
        group: the name of the group of columns that it is a part of, where the others are of another kind; a query
            may give and want all of them by that name.
        missing: values of the input that stand for "missing", as texts, where the user named some; None: the usual
            ones.
        size_factor: of counts whose means are proportional to their row's total, the mean and the squared coefficient
            of variation of the training rows' size factors (see `CountLikelihood`); None: the rows have no size.
        df: the degrees of freedom of a Student's t; None: they are learned.
        gaps: whether training rows lack single elements (cells). Encoders then see 2·size numbers, the values (0 where
            they are missing) and, after them, 1 for each element that is there; of classes K·size + size.
        learned: parameters of the likelihood that a program learns, by name, and its calibration. The program binds
            them.
        covariates: the conditions that encoders and decoders of this modality see beside it. The program binds them.

    Raises:
        UsageError: the shape, classes, scale or scaling are impossible, the names of the features are not one per
            feature, or the likelihood refuses the schema (`Likelihood.check`).

    Example:
        >>> image = Modality("image", (28, 28), "bernoulli")
        >>> image.size, image.input_size, image.output_size
        (784, 784, 784)
        >>> Modality("label", (), "categorical", role="label", classes=("cat", "dog")).input_size
        2
        >>> watch = Modality("watch", (100, 3), "normal", sequence=True)
        >>> watch.size, watch.input_size, watch.features_of_step
        (300, 400, 3)
    """

    name: str
    shape: tuple[int, ...]
    likelihood: str = "normal"
    scale: Scale | None = None
    role: Role = "modality"
    classes: tuple[str | int, ...] | None = None
    transform: str = "none"
    shift: tuple[float, ...] | None = None
    spread: tuple[float, ...] | None = None
    features: tuple[str, ...] | None = None
    input_scaling: Scaling | None = None
    sequence: bool = False
    missing: tuple[str, ...] | None = None
    size_factor: tuple[float, ...] | None = None
    event: str | None = None
    event_missing: tuple[str, ...] | None = None
    group: str | None = None
    df: float | None = None
    gaps: bool = False
    learned: Mapping[str, Tensor] | None = dataclasses.field(default=None, compare=False, repr=False)
    covariates: tuple[Modality, ...] = dataclasses.field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if any(length < 1 for length in self.shape) or self.size > LARGEST:
            raise UsageError(f"{self.name}: no sample has the shape {self.shape}; give whole numbers from 1 on.")
        if self.gaps and (self.sequence or not self.shape):
            raise UsageError(f"{self.name}: gaps are of vectors and arrays; a number or sequence lacks whole rows.")
        if self.sequence and len(self.shape) != 2:
            raise UsageError(f"{self.name}: a sequence has the shape (steps, features), not {self.shape}; reshape it.")
        if self.sequence and self.role == "condition":
            raise UsageError(f"{self.name}: a condition is one vector per row, and it is a sequence; leave it out.")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise UsageError(f"{self.name}: two of its classes have the same name; rename one.")
        if not isinstance(self.scale, str | None) and not 0 < self.scale < math.inf:
            raise UsageError(f"{self.name}: scale {self.scale} is not a positive number.")
        for scaling in (self.scaling, self.input_scaling):
            if scaling is not None:
                scaling.check(self.name, self.size)
        if self.size_factor is not None and not (
            len(self.size_factor) == 2 and all(0 < number < math.inf for number in self.size_factor)
        ):
            raise UsageError(f"{self.name}: a size factor is two positive numbers, not {self.size_factor}.")
        if self.features is not None and not len(self.features) == len(set(self.features)) == self.size:
            raise UsageError(f"{self.name}: {self.size} features need as many names, each its own; name them anew.")
        if family := LIKELIHOODS.get(self.likelihood):  # that of a run may become known only when its program is loaded
            if self.sequence and not family.elements:
                raise UsageError(f"{self.name}: {self.likelihood} scores no single steps of a sequence; choose normal.")
            if self.gaps and not family.elements:
                raise UsageError(
                    f"{self.name}: {self.likelihood} scores whole rows only, and some lack cells; choose normal, or "
                    f"mask these rows (mask_{self.name})."
                )
            family.check(self)

    def check_learnt(self) -> None:
        """Check that nothing is missing that a schema learns from data: classes, and the numbers of its scaling.

        Raises:
            UsageError: something is missing, or a name is unknown.
        """
        if self.family.values == "classes" and not self.classes:
            raise UsageError(f"{self.name}: it has no classes; take the schema from data.")
        if isinstance(self.scale, str) and self.scale not in self.family.scales:
            raise UsageError(f"{self.name}: {self.likelihood} has no scale {self.scale!r}; leave it out.")
        for scaling in (self.scaling, self.input_scaling):
            if scaling is not None and scaling.curve.learns and scaling.shift is None:
                raise UsageError(f"{self.name}: {scaling.transform} has learnt no numbers; take the schema from data.")

    @property
    def family(self) -> type[Likelihood]:
        """The class of its likelihood, which knows everything that depends on the likelihood.

        Raises:
            UsageError: no likelihood of that name is registered (yet).
        """
        return LIKELIHOODS[self.likelihood]

    @property
    def drawn(self) -> Literal["image", "curve", "text"]:
        """How a figure shows a value."""
        return self.family.drawn(self)

    @property
    def scaling(self) -> Scaling:
        """The transform from input units to model units, with its numbers."""
        return Scaling(self.transform, self.shift, self.spread)

    @cached_property
    def size(self) -> int:
        """The number of features of one sample."""
        return math.prod(self.shape)

    @cached_property
    def n_classes(self) -> int:
        """The number of classes; 0 where the modality has none."""
        return len(self.classes) if self.classes else 0

    @property
    def input_size(self) -> int:
        """The width of an encoder's input: one per feature, or one per feature and class; one per step of a sequence,
        or per feature where there are gaps; and beside them the columns of the covariates.
        """
        masks = self.shape[0] if self.sequence else self.size if self.gaps else 0
        return self.family.input_size(self) + masks + self.covariate_size

    @property
    def covariate_size(self) -> int:
        """The width of all covariates together."""
        return sum(m.input_size for m in self.covariates)

    @property
    def alone(self) -> Modality:
        """The same modality without covariates."""
        return dataclasses.replace(self, covariates=()) if self.covariates else self

    @property
    def step(self) -> Modality:
        """The schema of a single step of a sequence, (F,)."""
        width = self.features_of_step
        shift, spread = (None if numbers is None else numbers[:width] for numbers in (self.shift, self.spread))
        return dataclasses.replace(
            self, shape=(width,), sequence=False, shift=shift, spread=spread, features=None, input_scaling=None
        )

    @property
    def features_of_step(self) -> int:
        """The number of features that have a noise of their own: those of one step of a sequence, else all."""
        return self.shape[1] if self.sequence else self.size

    @property
    def output_size(self) -> int:
        """How many numbers a decoder has to return for one sample."""
        return self.family.output_size(self)

    def as_input(self, value: Tensor, present: Tensor | None = None) -> Tensor:
        """Turn values into an encoder's input, without covariates. Classes become one-hot, and an unknown code becomes
        zeros.

        Args:
            value: (B, *shape) values in model units.
            present: bool, broadcastable to (B, *shape): the elements that exist; None: all. Those that do not exist
                become zeros, whatever stands there.

        Returns:
            (B, input_size) floats, without covariates. Of a sequence they are the flattened (T, F + 1) steps (F·K + 1
            with K classes): its features, and 1 where the step exists. With `gaps` they are followed by 1 for each
            element that is there.
        """
        return self.masked_input(self.family.as_input(self, value), present)

    def masked_input(self, columns: Tensor, present: Tensor | None = None) -> Tensor:
        """Blank the columns of elements that do not exist, and add those that say which steps of a sequence, or
        elements where there are gaps, do.

        Args:
            columns: (B, size), or (B, size · classes), as an encoder sees the values.
            present: as in `as_input`.

        Returns:
            (B, input_size) floats.
        """
        if present is None and not (self.sequence or self.gaps):
            return columns
        there = torch.ones(1, *self.shape, dtype=torch.bool, device=columns.device) if present is None else present
        there = there.expand(len(columns), *self.shape)
        of_each = columns.shape[1] // self.size
        columns = torch.where(there.flatten(1).repeat_interleave(of_each, -1), columns, 0.0)
        if self.gaps:
            return torch.cat([columns, there.flatten(1).to(columns.dtype)], -1)
        if not self.sequence:
            return columns
        steps = there.any(-1, keepdim=True).to(columns.dtype)
        return torch.cat([columns.unflatten(1, (self.shape[0], -1)), steps], -1).flatten(1)

    def to_input_units(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert the moments of a Normal from model units to the units of the input.

        For "log1p" they become the moments of a log-normal minus one: E e^y = exp(m + v/2).

        Args:
            mean: (..., *shape).
            variance: (..., *shape).

        Returns:
            Mean and variance, (..., *shape) each.
        """
        return self.scaling.moments(mean, variance, self.shape)

    def value_in_input_units(self, value: np.ndarray) -> np.ndarray:
        """Convert points (draws, quantiles or data values) from model units to the units of the input. The map is
        monotone.

        Args:
            value: (..., *shape).

        Returns:
            (..., *shape).
        """
        return self.scaling.to_input(value, self.shape)

    def to_model_units(self, value: np.ndarray) -> np.ndarray:
        """Convert points from the units of the input to model units: the inverse of `value_in_input_units`."""
        return self.scaling.to_model(value, self.shape)

    def location_in_model_units(self, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Find the mean in model units from the moments in the units of the input: the inverse of `to_input_units`.

        Args:
            mean: (..., *shape) in the units of the input.
            sd: (..., *shape) standard deviation in the units of the input.

        Returns:
            (..., *shape) mean in model units.
        """
        return self.scaling.location(mean, sd, self.shape)

    def log_jacobian(self, value: Tensor, present: Tensor | None = None) -> Tensor:
        """ln |d model units / d input units| in nats, which turns a log-density in model units into one in the input's
        units.

        Args:
            value: (B, *shape) values in model units.
            present: bool, broadcastable to (B, *shape): the elements that exist; None: all.

        Returns:
            (B,) float64, summed over the event; 0 for classes and Bernoullis, which have no density.
        """
        if not self.family.density:
            return torch.zeros(len(value), dtype=torch.float64)
        return self.scaling.log_jacobian(value, present)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON data, without the learned parameters."""
        kept = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("learned", "covariates")
        }
        # None is neither in the file nor in the fingerprint
        for name in ("features", "input_scaling", "event", "event_missing", "group", "missing", "size_factor", "df"):
            if kept[name] is None:
                del kept[name]
        for name in ("sequence", "gaps"):
            if not kept[name]:
                del kept[name]
        if self.input_scaling is not None:
            kept["input_scaling"] = self.input_scaling.to_json()
        return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()}

    @classmethod
    def from_json(cls, data: Any) -> Modality:
        """Return the schema that `to_json` has written.

        Raises:
            ValueError: a field is unknown or of another type.
            UsageError: as by the constructor, or a number of the scaling is impossible.
        """
        found = from_json(cls, data)
        for scaling in (found.scaling, found.input_scaling):
            if scaling is not None:
                scaling.check_numbers(found.name)
        return found
