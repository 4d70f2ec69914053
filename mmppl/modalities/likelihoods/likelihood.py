"""Likelihoods: how a decoder's output becomes a distribution over one modality, and all else that is to be known of it.

Each is a Pyro distribution over an event of the modality's shape, built from (modality, output, scale). A new one is a
new class: `@likelihood("name")` makes its name known to schemas and `--as`, from a program file too. Nobody else asks
for a likelihood's name: what differs between likelihoods is an attribute or a method here.
"""

from __future__ import annotations

import copy
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
from .noise import LearnedParts

ROUNDING = 1e-5  # times 1 + a count: how far a transform to float32 and back may move it off the whole number


class Likelihood(LearnedParts, TorchDistribution):
    """Distribution over one modality, with batch shape (..., B) and event shape `modality.shape`.

    A likelihood has to define `values`, `log_prob` and `from_uniform`, and for numbers and counts `mean` and
    `variance`, for classes `probs` (..., *shape, K). Everything else has a default.

    Args:
        modality: the modality that is scored.
        output: (..., B, output_size) decoder output.
        scale: overrides the modality's scale; a number or a (size,) tensor, in model units.

    Attributes:
        values: "numbers", "counts" (whole numbers from 0 on, scored as they are) or "classes" (codes into
            `modality.classes`).
        kind: the kind of metrics that it has of its own, such as "ranks"; "": those of its values only.
        density: whether `log_prob` is a log-density, which changes with the units, and not a log-probability.
        default_scale: the scale where the modality names none, a number or one of `scales`; see `scale_of`.
        scales: the words that `Modality.scale` may be instead of a number.
        masks: whether `log_prob` takes `mask`, (..., B) bool, and does no work for the other rows.
        elements: whether `log_prob` counts only the elements of a row that exist (`of_elements`), which modalities
            need whose rows may lack some, such as sequences of unequal length.
        input_transform: name in `TRANSFORMS` of the transform from values in model units to an encoder's input; its
            shift and spread are learned from the training rows. None: an encoder sees the values that are scored.
        point: the part of an answer that stands for it where one number is asked for: "mean", or "q50", the median.
        error_metric: the metric that is printed for predictions after a fit.
        anchors: those of nll_global, nll_class and nll_floor that `baseline_parameters` and `negative_log_likelihood`
            can compute.

    Example:
        >>> import torch
        >>> m = Modality("x", (2,), "normal", scale=1.0)
        >>> x = m.family(m, torch.zeros(3, m.output_size))
        >>> x.log_prob(torch.zeros(3, 2))
        tensor([-1.8379, -1.8379, -1.8379])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    values: ClassVar[Literal["numbers", "counts", "classes"]]
    kind: ClassVar[str] = ""
    density: ClassVar[bool] = True
    masks: ClassVar[bool] = False
    elements: ClassVar[bool] = False
    present: Tensor | None = None
    input_transform: ClassVar[str | None] = None
    point: ClassVar[Literal["mean", "q50"]] = "mean"
    error_metric: ClassVar[str] = "rmse"
    anchors: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def lacking(cls) -> list[str]:
        """Return the required parts that the class does not define, in words."""
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

    # Which data it takes

    @classmethod
    def claims(cls, facts: ArrayFacts) -> Claim | None:
        """Decide whether an array is for this likelihood, where the user names none.

        Args:
            facts: what the array is like.

        Returns:
            The claim to the array; None: the likelihood is used only where the user names it.
        """
        return None

    @classmethod
    def refuses(cls, facts: ArrayFacts) -> str | None:
        """Say why the user cannot name this likelihood for an array.

        Args:
            facts: what the array is like.

        Returns:
            The end of an error message; None: the likelihood can be used.
        """
        strings = facts.kind == "U" and cls.values != "classes"
        return "its values are strings; only categorical or ordinal fits." if strings else None

    @classmethod
    def transforms(cls, guessed: str) -> tuple[str, ...]:
        """List the transforms after which the likelihood may score values, the usual one first.

        Numbers may be scored after any transform; counts and classes are scored as they are.

        Args:
            guessed: name of the transform that the array would get by its type.

        Returns:
            Names in `TRANSFORMS`.
        """
        return (guessed, *TRANSFORMS) if cls.values == "numbers" else ("none",)

    @classmethod
    def check(cls, modality: Modality) -> None:
        """Check that this can be the likelihood of a modality.

        Raises:
            UsageError: it cannot; the message says what to choose instead.
        """

    @classmethod
    def illegal(cls, value: np.ndarray) -> tuple[np.ndarray, str]:
        """Find the values to which the likelihood gives no probability.

        Args:
            value: numbers in model units.

        Returns:
            A mask of the shape of `value`, and what an error message says after such a value.
        """
        if cls.values == "counts":
            return (value < 0) | (value != np.rint(value)), "is no count, a whole number from 0 on; correct or mask it."
        return np.zeros(value.shape, dtype=bool), ""

    @classmethod
    def as_stored(cls, value: np.ndarray) -> np.ndarray:
        """Return values in model units as a data set stores them: counts that come from another transform, rounded."""
        if cls.values != "counts":
            return value
        whole = np.rint(value)
        return np.where(np.abs(value - whole) <= np.minimum(ROUNDING * (1 + np.abs(whole)), 0.1), whole, value)

    # What networks take and return

    @classmethod
    def input_size(cls, modality: Modality) -> int:
        """The width of an encoder's input: one column per feature, or one per feature and class."""
        return modality.size * (modality.n_classes if cls.values == "classes" else 1)

    @classmethod
    def as_input(cls, modality: Modality, value: Tensor) -> Tensor:
        """Turn values into an encoder's input. Classes become one-hot, and an unknown code becomes zeros.

        Args:
            modality: the modality of the values.
            value: (B, *shape) values in model units.

        Returns:
            (B, input_size) floats.
        """
        if cls.values == "classes":
            codes = torch.arange(modality.n_classes, device=value.device)
            one_hot = value.unsqueeze(-1) == codes
            return one_hot.to(torch.get_default_dtype()).flatten(1)
        flat = value.flatten(1) if modality.shape else value.unsqueeze(-1)
        return flat if modality.input_scaling is None else modality.input_scaling.of_features(flat)

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        """How many numbers a decoder returns for one sample."""
        return modality.size

    @classmethod
    def is_gaussian(cls, modality: Modality) -> bool:
        """Whether it is a Normal around the decoder's output and its spread does not depend on that: with a linear
        decoder, the posterior of the latent then has a closed form.
        """
        return False

    # How it is evaluated and drawn

    @classmethod
    def baseline_parameters(cls, modality: Modality, value: Tensor) -> Tensor:
        """Fit a distribution without a latent to some rows, as a baseline for a program's decoders.

        Args:
            modality: the modality of the values.
            value: (n, *shape) values in model units.

        Returns:
            (P,) parameters, which `negative_log_likelihood` takes.
        """
        raise NotImplementedError

    @classmethod
    def negative_log_likelihood(cls, modality: Modality, value: Tensor, parameters: Tensor | None) -> Tensor:
        """−ln p of values in nats, summed over the event.

        Args:
            modality: the modality of the values.
            value: (n, *shape) values in model units.
            parameters: what `baseline_parameters` has returned. None: the best parameters for each value, below whose
                nats no decoder can come ("nll_floor").

        Returns:
            (n,) nats.
        """
        raise NotImplementedError

    @classmethod
    def drawn(cls, modality: Modality) -> Literal["image", "curve", "text"]:
        """How a figure shows a value."""
        if cls.values == "classes" or modality.size == 1 and not is_image(modality):
            return "text"
        return "image" if is_image(modality) else "curve"

    @classmethod
    def limits(cls, modality: Modality) -> tuple[float, float] | None:
        """Black and white of an image, in the units of the input; None: the extremes of the data."""
        return None

    # The distribution

    def __init__(self, modality: Modality, output: Tensor, scale: float | Tensor | None = None) -> None:
        if output.shape[-1] != self.output_size(modality):
            raise ValueError(
                f"{modality.name}: {type(self).__name__} takes {self.output_size(modality)} decoder outputs, "
                f"got {output.shape[-1]}. Size the decoder with modality.output_size."
            )
        self.dtype = torch.promote_types(output.dtype, torch.float32)  # sums over features need float32 at least
        self.given = output.float() if output.dtype == torch.float16 else output  # kernels read bfloat16 themselves
        self.modality, self.scale = modality, scale
        super().__init__(output.shape[:-1], torch.Size(modality.shape), validate_args=False)

    @cached_property
    def output(self) -> Tensor:
        """The decoder's output in the dtype of densities."""
        return self.given.to(self.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """ln p in nats, summed over the event.

        Args:
            value: (B, *shape) values in model units.

        Returns:
            (..., B) nats.
        """
        raise NotImplementedError

    def from_uniform(self, u: Tensor) -> Tensor:
        """Draw by inverting the distribution function.

        Args:
            u: (..., B, size) uniforms, one per feature.

        Returns:
            (..., B, *shape) draws in model units.
        """
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """(..., B, *shape) mean in model units."""
        raise NotImplementedError

    @property
    def variance(self) -> Tensor:
        """(..., B, *shape) variance in model units."""
        raise NotImplementedError

    @property
    def probs(self) -> Tensor:
        """(..., B, *shape, K) probabilities, for classes only."""
        raise NotImplementedError

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        shape = (*sample_shape, *self.batch_shape, self.modality.size)
        with torch.no_grad():
            return self.from_uniform(torch.rand(shape, dtype=self.output.dtype, device=self.output.device))

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Likelihood:
        output = self.given.expand(*batch_shape, self.given.shape[-1])
        again = type(self)(self.modality, output, self.scale)
        again.present = self.present
        return again

    def of_elements(self, present: Tensor) -> Likelihood:
        """Return the same distribution, whose `log_prob` sums over the elements of each row that exist.

        What stands elsewhere does not matter, neither in the values nor in the decoder's output; draws and moments are
        those of all elements.

        Args:
            present: bool, broadcastable to (B, *shape).

        Returns:
            A new distribution.

        Raises:
            ValueError: the likelihood does not know of elements.
        """
        if not self.elements:
            raise ValueError(f"{self.modality.name}: {type(self).__name__} scores no single elements of a row.")
        again = copy.copy(self)
        again.present = present
        return again

    def _stretches(self) -> Tensor | None:
        """(..., P) bool, which of P equal stretches of the flattened features exist: the steps of a sequence, else the
        features themselves; None: they all do, and share no parameters."""
        m, present = self.modality, self.present
        if m.sequence:
            whole = torch.ones(m.shape[0], dtype=torch.bool, device=self.given.device)
            return whole if present is None else present.expand(len(present), *m.shape)[..., 0]
        return None if present is None else present.expand(len(present), *m.shape).flatten(1)

    def _flat(self, value: Tensor) -> Tensor:
        """(..., *shape) → (..., size)."""
        lead = value.shape[: value.ndim - len(self.modality.shape)]
        return value.reshape(*lead, self.modality.size)

    def _features(self, value: Tensor) -> Tensor:
        """(..., *shape) → (..., size), in the dtype of densities."""
        return self._flat(value).to(self.dtype)

    def _event(self, flat: Tensor) -> Tensor:
        """(..., size) → (..., *shape)."""
        return flat.reshape(*flat.shape[:-1], *self.modality.shape)
