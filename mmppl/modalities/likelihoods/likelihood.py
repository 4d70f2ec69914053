"""Likelihoods: how a decoder's output becomes a distribution over one modality, and all else that is to be known of it.

Each is a Pyro distribution over an event of the modality's shape, built from (modality, output, scale). A new one is a
new class: `@likelihood("name")` makes its name known to schemas and `--as`, from a program file too. Nobody else asks
for a likelihood's name: what differs between likelihoods is an attribute or a method here.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from ..array_facts import ArrayFacts, Claim
from ..images import is_image
from ..modality import Modality
from ..transforms import TRANSFORMS

ROUNDING = 1e-5  # of 1 + a count: what a transform to float32 and back may have moved it off the whole number


class Likelihood(TorchDistribution):
    """Distribution over one modality of batch shape (..., B) and event shape `modality.shape`.

    A likelihood has to give `values`, `log_prob`, `from_uniform` and, of numbers and counts, `mean` and `variance`, of
    classes `probs` (..., *shape, K). All else has a default.

    Args:
        modality: what is scored.
        output: (..., B, output_size) decoder output.
        scale: overrides the modality's scale; a number or a (size,) tensor, in model units.

    Class attributes:
        values: "numbers", "counts" (whole numbers from 0 on, scored as they are) or "classes" (codes into
            `modality.classes`).
        density: whether `log_prob` is that of a density, which changes with the units, not of a probability.
        default_scale, scales: the scale where none is named, and which words `Modality.scale` may be besides a number.
        masks: whether log_prob takes mask=, (..., B) bool, and leaves the other rows out of its work.
        input_transform: name in `TRANSFORMS` of what makes an encoder's input of the values in model units, shifted
            and divided as the training rows say where it learns; None: an encoder sees the values that are scored.
        error_metric: the metric by which predictions are told after a fit.
        anchors: which of nll_global, nll_class and nll_floor `row_parameters` and `nats` are there for.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    values: ClassVar[Literal["numbers", "counts", "classes"]]
    density: ClassVar[bool] = True
    default_scale: ClassVar[float | None] = None
    scales: ClassVar[tuple[str, ...]] = ()
    masks: ClassVar[bool] = False
    input_transform: ClassVar[str | None] = None
    error_metric: ClassVar[str] = "rmse"
    anchors: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def lacking(cls) -> list[str]:
        """The required parts that a class does not have, in words."""
        values = getattr(cls, "values", None)
        if values not in ("numbers", "counts", "classes"):
            return ['values = "numbers", "counts" or "classes"']
        needed = {
            "log_prob": "log_prob(value), nats of each row",
            "from_uniform": "from_uniform(u), draws by the inverse distribution function",
        }
        if values == "classes":
            needed["probs"] = "probs, of each class"
        else:
            needed |= {"mean": "mean", "variance": "variance"}
        return [words for name, words in needed.items() if getattr(cls, name) is getattr(Likelihood, name)]

    # What it takes

    @classmethod
    def claims(cls, facts: ArrayFacts) -> Claim | None:
        """Whether an array of which the user says nothing is for this likelihood; None: only where it is named."""
        return None

    @classmethod
    def refuses(cls, facts: ArrayFacts) -> str | None:
        """Why the user cannot name it for an array; None: it can be."""
        if facts.kind == "U" and cls.values != "classes":
            return "its values are strings; only categorical fits."
        return None

    @classmethod
    def transforms(cls, guessed: str) -> tuple[str, ...]:
        """The transforms that it may be scored on, the usual one first. Args: guessed: what the array would get by its
        type. Numbers take any; counts and classes are scored as they are."""
        return (guessed, *TRANSFORMS) if cls.values == "numbers" else ("none",)

    @classmethod
    def check(cls, modality: Modality) -> None:
        """UsageError for a modality that it cannot be the likelihood of."""

    @classmethod
    def illegal(cls, value: np.ndarray) -> tuple[np.ndarray, str]:
        """Which numbers in model units it gives no probability to, and what to say of them after their value."""
        if cls.values == "counts":
            return (value < 0) | (value != np.rint(value)), "is no count, a whole number from 0 on; correct or mask it."
        return np.zeros(value.shape, dtype=bool), ""

    @classmethod
    def kept(cls, value: np.ndarray) -> np.ndarray:
        """Numbers in model units as a data set keeps them: counts that came back from another transform, rounded."""
        if cls.values != "counts":
            return value
        whole = np.rint(value)
        return np.where(np.abs(value - whole) <= np.minimum(ROUNDING * (1 + np.abs(whole)), 0.1), whole, value)

    # What networks see and give

    @classmethod
    def input_size(cls, modality: Modality) -> int:
        """Width of what an encoder sees."""
        return modality.size * (modality.n_classes if cls.values == "classes" else 1)

    @classmethod
    def as_input(cls, modality: Modality, value: Tensor) -> Tensor:
        """(B, *shape) values in model units → (B, input_size) floats for an encoder: one column per feature, or per
        feature and class; an unknown code has zeros."""
        if cls.values == "classes":
            codes = torch.arange(modality.n_classes, device=value.device)
            one_hot = value.unsqueeze(-1) == codes
            return one_hot.to(torch.get_default_dtype()).flatten(1)
        flat = value.flatten(1) if modality.shape else value.unsqueeze(-1)
        return flat if modality.input_scaling is None else modality.input_scaling.of_features(flat)

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        """Decoder outputs per sample."""
        return modality.size

    @classmethod
    def parameters(cls, modality: Modality) -> dict[str, Tensor]:
        """Name → first value of each parameter that a program learns for a modality, read by `learned`."""
        return {"log_scale": torch.zeros(modality.size)} if modality.scale == "learned" else {}

    # How it is judged and drawn

    @classmethod
    def row_parameters(cls, modality: Modality, value: Tensor) -> Tensor:
        """(n, *shape) values → (P,) parameters of the distribution that knows their mean only, the anchor of `nats`."""
        raise NotImplementedError

    @classmethod
    def nats(cls, modality: Modality, value: Tensor, parameters: Tensor | None) -> Tensor:
        """(n,) −ln p of values (n, *shape) under such parameters; None: under those that suit each value best, below
        which no decoder comes ("nll_floor")."""
        raise NotImplementedError

    @classmethod
    def drawn(cls, modality: Modality) -> Literal["image", "curve", "text"]:
        """What a value looks like in a figure."""
        if cls.values == "classes" or modality.size == 1 and not is_image(modality):
            return "text"
        return "image" if is_image(modality) else "curve"

    @classmethod
    def limits(cls, modality: Modality) -> tuple[float, float] | None:
        """Black and white of an image, in units of the input; None: the smallest and the largest of the data."""
        return None

    # The distribution

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

    def log_prob(self, value: Tensor) -> Tensor:
        """(B, *shape) → (..., B) nats, summed over the event."""
        raise NotImplementedError

    def from_uniform(self, u: Tensor) -> Tensor:
        """Uniforms (..., B, size), one to a feature → draws (..., B, *shape) in model units, by inversion of the
        distribution function."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """(..., B, *shape) in model units."""
        raise NotImplementedError

    @property
    def variance(self) -> Tensor:
        """(..., B, *shape) in model units."""
        raise NotImplementedError

    @property
    def probs(self) -> Tensor:
        """(..., B, *shape, K), of classes only."""
        raise NotImplementedError

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        shape = (*sample_shape, *self.batch_shape, self.modality.size)
        with torch.no_grad():
            return self.from_uniform(torch.rand(shape, dtype=self.output.dtype, device=self.output.device))

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Likelihood:
        output = self.given.expand(*batch_shape, self.given.shape[-1])
        return type(self)(self.modality, output, self.scale)

    def learned(self, name: str) -> Tensor:
        """One of `parameters`, in the dtype of densities.

        Raises:
            ValueError: the modality is bound to no program, or has no such parameter.
        """
        if self.modality.learned is None:
            raise ValueError(f"{self.modality.name}: a learned {name} needs a modality bound by its program.")
        if name not in self.modality.learned:
            raise ValueError(f"{self.modality.name}: {type(self).__name__} names no parameter {name!r} to learn.")
        return self.modality.learned[name].to(self.dtype)

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
            return self.learned("log_scale")
        if isinstance(scale, Tensor):
            return scale.log().to(self.dtype)
        return math.log(scale if scale is not None else self.default_scale)  # type: ignore[arg-type]


def _inside(u: Tensor) -> Tensor:
    """Uniforms kept off 0 and 1, where an inverse distribution function is infinite."""
    eps = torch.finfo(u.dtype).eps
    return u.clamp(eps / 2, 1 - eps / 2)
