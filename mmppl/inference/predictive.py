"""From draws to a predictive distribution: weighted moments, quantiles, resampling, and the units of the input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..distributions.delta import is_deterministic
from ..errors import UsageError
from ..modalities.modality import Modality
from .keyed_noise import row_keys, uniforms


def average(values: Tensor, weights: Tensor | None) -> Tensor:
    """Average over draws.

    Args:
        values: (draws, B, ...).
        weights: (draws, B), normalised over the draws; None weighs all draws equally.

    Returns:
        (B, ...).
    """
    if weights is None:
        return values.mean(0)
    return torch.einsum("kb...,kb->b...", values.double(), weights).to(values.dtype)


def to_input_units(modality: Modality | None, value: np.ndarray) -> np.ndarray:
    """Bring values into the units of the input.

    Args:
        modality: the modality; None for a latent, whose values are kept.
        value: (..., *shape) in model units.

    Returns:
        (..., *shape) in input units.
    """
    return value if modality is None else modality.value_in_input_units(value)


def quantile(ordered: Tensor, p: float, counts: bool = False) -> Tensor:
    """Compute a quantile of draws at plotting positions k/(draws + 1).

    Args:
        ordered: (draws, ...) in ascending order.
        p: the probability.
        counts: True takes the smallest draw whose position is at least p, which is a count, instead of interpolating.

    Returns:
        (...).
    """
    n = len(ordered)
    position = min(max(p * (n + 1) - 1, 0.0), n - 1.0)
    if counts:
        return ordered[math.ceil(round(position, 9))]
    low = int(position)
    return torch.lerp(
        ordered[low].to(torch.get_default_dtype()),
        ordered[min(low + 1, n - 1)].to(torch.get_default_dtype()),
        position - low,
    )


def quantile_name(p: float) -> str:
    """Name a quantile: q05 for 0.05, q97.5 for 0.975.

    Args:
        p: the probability.

    Returns:
        The name.

    Raises:
        UsageError: p is not between 0 and 1.
    """
    if not 0 <= p <= 1:
        raise UsageError(f"query: quantile {p} is not between 0 and 1.")
    percent = round(100 * p, 6)
    return f"q{percent:02.0f}" if percent.is_integer() else f"q{percent:g}"


def resample(weights: Tensor, seed: int, ids: np.ndarray) -> Tensor:
    """Draw equally weighted draws by systematic resampling with keyed noise.

    Args:
        weights: (draws, B), normalised over the draws.
        seed: the seed.
        ids: (B,) ids of the rows.

    Returns:
        (draws, B) numbers of draws.
    """
    draws = weights.shape[0]
    u = uniforms(seed, "resample", row_keys(ids), 1, 1, torch.float64)[0, :, 0]
    points = (torch.arange(draws, dtype=torch.float64).unsqueeze(-1) + u) / draws
    edges = weights.cumsum(0)
    return torch.searchsorted(edges.T.contiguous(), points.T.contiguous()).clamp_max(draws - 1).T


class PredictiveAccumulator:
    """The predictive distribution of one site, accumulated over chunks of its draws.

    Args:
        modality: the modality that the site observes; None for a latent, whose draws (not whose guide) the weights
            correct.
        draws: the number of draws in all chunks.
        weights: (draws, B), normalised over the draws; None weighs all draws equally.
        hold: whether to keep the draws, which quantiles need.
    """

    def __init__(self, modality: Modality | None, draws: int, weights: Tensor | None, hold: bool) -> None:
        self.modality, self.draws, self.weights, self.hold = modality, draws, weights, hold
        values = None if modality is None else modality.family.values
        self.classes, self.counts = values == "classes", values == "counts"
        self.bent = modality is not None and not modality.scaling.curve.affine  # converts units draw by draw
        self.weight: Tensor | float = 0.0
        self.mean: Any = 0.0  # both in float64, over the draws so far
        self.spread: Any = 0.0
        self.held = torch.empty(0)  # (B, size, draws): sorting along memory is several times faster
        # the first draw's distribution, its mean and variance, and (B,) bool: the rows where all draws have them
        self.alike: Any = None

    def add(self, site: Mapping[str, Any], first: int) -> None:
        """Add a chunk of draws.

        Args:
            site: the site of the trace.
            first: the number of the first of these draws.
        """
        fn, value = site["fn"], site["value"]
        mean: Any
        variance: Any
        share = None
        weight = torch.tensor([len(value)], dtype=torch.float64)
        if self.weights is not None:
            share = self.weights[first : first + len(value)]
            weight = share.sum(0).clamp_min(torch.finfo(torch.float64).tiny)
            share = share / weight
        if self.classes:
            mean, variance = fn.probs, None
        elif share is not None and self.modality is None:
            mean, variance = value, None
        else:
            mean, variance = fn.mean, fn.variance
            self._compare(fn, mean, variance, first)
        if self.modality is not None and self.bent:
            mean, variance = map(torch.from_numpy, self.modality.to_input_units(mean.numpy(), variance.numpy()))
        centre = mean[0] if is_deterministic(fn) else average(mean, share)  # no rounding of what all draws share
        if self.classes:
            self._merge(weight, centre)
        else:
            spread = average((mean - centre).square(), share)
            self._merge(weight, centre, spread if variance is None else spread + average(variance, share))
        if self.hold:
            flat = value.reshape(*value.shape[:2], -1).permute(1, 2, 0)
            if not first:
                self.held, self.shape = flat.new_empty(*flat.shape[:2], self.draws), value.shape[2:]
            self.held[..., first : first + len(value)] = flat

    def _merge(self, weight: Tensor, mean: Tensor, spread: Tensor | float = 0.0) -> None:
        """Merge the mean of a chunk, and the mean square around it, with those of the chunks before."""
        self.dtype = mean.dtype
        self.weight = self.weight + weight
        share = (weight / self.weight).reshape(-1, *[1] * (mean.ndim - 1))
        step = mean.double() - self.mean
        self.spread = self.spread + share * (spread - self.spread + (1 - share) * step.square())
        self.mean = self.mean + share * step

    def _compare(self, fn: Any, mean: Tensor, variance: Tensor, first: int) -> None:
        """Update which rows have the same distribution in all draws so far."""
        if not first:
            self.alike = (fn, mean[0], variance[0], torch.ones(mean.shape[1], dtype=torch.bool))
        _, *moments, same = self.alike
        for each, one in zip((mean, variance), moments):
            if same.any():
                same &= (each[-1] == one).reshape(len(same), -1).all(1)
            if same.any():  # rare, and only then worth the memory of comparing all draws
                same &= (each == one).reshape(len(each), len(same), -1).all(2).all(0)

    def resample(self, indices: Tensor) -> None:
        """Replace the draws that are kept by resampled ones.

        Args:
            indices: (draws, B) numbers of draws, from `resample`.
        """
        if self.hold:
            self.held = self.held.gather(-1, indices.T.unsqueeze(1).expand_as(self.held))

    def moments(self) -> dict[str, np.ndarray]:
        """Return the moments of the mixture over draws, in input units.

        Returns:
            "prob" for classes, else "mean" and "std"; the variance is E v + Var m, decoder spread plus latent
            uncertainty.
        """
        if self.classes:
            return {"prob": self.mean.to(self.dtype).numpy()}
        mean, variance = self.mean.to(self.dtype).numpy(), self.spread.to(self.dtype).numpy()
        if self.modality is not None and not self.bent:
            mean, variance = self.modality.to_input_units(mean, variance)
        return {"mean": mean, "std": np.sqrt(variance)}

    def kept(self) -> np.ndarray:
        """Return the draws that were kept, (B, draws, *shape) in input units."""
        draws = self.held.movedim(-1, 1).clone().reshape(len(self.held), self.draws, *self.shape).numpy()
        return draws if self.classes else to_input_units(self.modality, draws)

    def quantiles(self, wanted: Sequence[float]) -> dict[str, np.ndarray]:
        """Return quantiles in input units. This sorts the draws in place, so it must be called last.

        They are exact where the distribution of the site is the same in every draw. Otherwise they are quantiles of the
        draws at plotting positions k/(draws + 1), whose intervals have the stated coverage on average.

        Args:
            wanted: the probabilities.

        Returns:
            "q05" etc. → (B, *shape); empty for classes.
        """
        names = {quantile_name(p): p for p in wanted}
        if not names or self.classes:
            return {}
        fn: Any
        fn, mean, _, same = self.alike or (None, torch.empty(0), None, torch.zeros(1, dtype=torch.bool))
        exact: dict[str, np.ndarray] = {}
        if (
            same.any()
            and self.draws > 1
            and self.weights is None
            and hasattr(fn, "from_uniform")
            and not hasattr(fn, "uniforms")  # it then has an inverse distribution function per element
        ):
            flat = mean.reshape(1, len(mean), -1)
            every = (*fn.batch_shape, flat.shape[-1])
            at = {q: fn.from_uniform(torch.full_like(flat, p).expand(every))[0].numpy() for q, p in names.items()}
            exact = {q: to_input_units(self.modality, x) for q, x in at.items()}
            if same.all():
                return exact
        self.held.numpy().sort(-1)
        ordered = self.held.movedim(-1, 0).unflatten(-1, self.shape) if self.shape else self.held[:, 0].T
        of_draws = {q: quantile(ordered, p, self.counts).numpy() for q, p in names.items()}
        empirical = {q: to_input_units(self.modality, x) for q, x in of_draws.items()}
        rows = same.reshape(-1, *[1] * len(self.shape)).numpy()
        return {q: np.where(rows, exact[q], empirical[q]) for q in names} if exact else empirical
