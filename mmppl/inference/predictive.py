"""From draws to a predictive distribution: weighted moments, quantiles, resampling, the units of the input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ..modalities.modality import Modality
from .keyed_noise import row_keys, uniforms


def average(values: Tensor, weights: Tensor | None) -> Tensor:
    """(draws, B, ...) → (B, ...), weighted by (draws, B) where there are weights."""
    if weights is None:
        return values.mean(0)
    return torch.einsum("kb...,kb->b...", values.double(), weights).to(values.dtype)


def in_units(modality: Modality | None, value: np.ndarray) -> np.ndarray:
    """Values of a modality in the units of the input; those of a latent (None) as they are."""
    return value if modality is None else modality.value_in_input_units(value)


def quantile(ordered: Tensor, p: float, counts: bool = False) -> Tensor:
    """The p-quantile of (draws, ...) ascending values, at plotting positions k/(draws + 1); of counts the smallest draw
    whose position is at least p, which is a count."""
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
    """q05 for 0.05, q97.5 for 0.975. Raises: UsageError: p is not between 0 and 1."""
    if not 0 <= p <= 1:
        raise UsageError(f"query: quantile {p} is not between 0 and 1.")
    percent = round(100 * p, 6)
    return f"q{percent:02.0f}" if percent.is_integer() else f"q{percent:g}"


def resample(weights: Tensor, seed: int, ids: np.ndarray) -> Tensor:
    """(draws, B) indices of equally weighted draws: systematic resampling with keyed noise."""
    draws = weights.shape[0]
    u = uniforms(seed, "resample", row_keys(ids), 1, 1, torch.float64)[0, :, 0]
    points = (torch.arange(draws, dtype=torch.float64).unsqueeze(-1) + u) / draws
    edges = weights.cumsum(0)
    return torch.searchsorted(edges.T.contiguous(), points.T.contiguous()).clamp_max(draws - 1).T


class PredictiveAccumulator:
    """What is wanted of one site, gathered over chunks of its draws.

    Args:
        modality: what the site observes; None: a latent, of which weights correct the draws, not the guide.
        draws: of all chunks.
        weights: (draws, B), normalised over the draws; None: all draws count the same.
        hold: keep the draws, which quantiles need.
    """

    def __init__(self, modality: Modality | None, draws: int, weights: Tensor | None, hold: bool) -> None:
        self.modality, self.draws, self.weights, self.hold = modality, draws, weights, hold
        values = None if modality is None else modality.family.values
        self.classes, self.counts = values == "classes", values == "counts"
        self.bent = modality is not None and not modality.scaling.curve.affine  # moments: in input units draw by draw
        self.weight: Tensor | float = 0.0
        self.mean: Any = 0.0  # both in float64, over the draws so far
        self.spread: Any = 0.0
        self.held = torch.empty(0)  # (B, size, draws): sorting along memory is several times faster
        # the first draw's distribution, its mean and variance, and (B,) bool: the rows where all draws have them
        self.alike: Any = None

    def add(self, site: Mapping[str, Any], first: int) -> None:
        """A chunk of draws, from number `first` on."""
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
        centre = average(mean, share)
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
        """A chunk's mean and mean square around it join those of the chunks before."""
        self.dtype = mean.dtype
        self.weight = self.weight + weight
        share = (weight / self.weight).reshape(-1, *[1] * (mean.ndim - 1))
        step = mean.double() - self.mean
        self.spread = self.spread + share * (spread - self.spread + (1 - share) * step.square())
        self.mean = self.mean + share * step

    def _compare(self, fn: Any, mean: Tensor, variance: Tensor, first: int) -> None:
        if not first:
            self.alike = (fn, mean[0], variance[0], torch.ones(mean.shape[1], dtype=torch.bool))
        _, *moments, same = self.alike
        for each, one in zip((mean, variance), moments):
            if same.any():
                same &= (each[-1] == one).reshape(len(same), -1).all(1)
            if same.any():  # seldom: only then is it worth the memory to look at all
                same &= (each == one).reshape(len(each), len(same), -1).all(2).all(0)

    def resample(self, picked: Tensor) -> None:
        """Draws of which (draws, B) `picked` names the numbers take the place of those that were gathered."""
        if self.hold:
            self.held = self.held.gather(-1, picked.T.unsqueeze(1).expand_as(self.held))

    def moments(self) -> dict[str, np.ndarray]:
        """The mixture over draws: "prob" of classes, else "mean" and "std" (E v + Var m: decoder spread and latent
        uncertainty together) in input units."""
        if self.classes:
            return {"prob": self.mean.to(self.dtype).numpy()}
        mean, variance = self.mean.to(self.dtype).numpy(), self.spread.to(self.dtype).numpy()
        if self.modality is not None and not self.bent:
            mean, variance = self.modality.to_input_units(mean, variance)
        return {"mean": mean, "std": np.sqrt(variance)}

    def kept(self) -> np.ndarray:
        """(B, draws, *shape) in input units."""
        draws = self.held.movedim(-1, 1).clone().reshape(len(self.held), self.draws, *self.shape).numpy()
        return draws if self.classes else in_units(self.modality, draws)

    def quantiles(self, wanted: Sequence[float]) -> dict[str, np.ndarray]:
        """q05 etc. in input units: exact where the site's distribution is the same for every draw, else those of the
        draws at plotting positions k/(draws + 1), whose intervals cover what they say on average. Sorts what is held:
        asked last."""
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
            and not hasattr(fn, "uniforms")  # an inverse distribution function per number of the event
        ):
            flat = mean.reshape(1, len(mean), -1)
            every = (*fn.batch_shape, flat.shape[-1])
            at = {q: fn.from_uniform(torch.full_like(flat, p).expand(every))[0].numpy() for q, p in names.items()}
            exact = {q: in_units(self.modality, x) for q, x in at.items()}
            if same.all():
                return exact
        self.held.numpy().sort(-1)
        ordered = self.held.movedim(-1, 0).unflatten(-1, self.shape) if self.shape else self.held[:, 0].T
        of_draws = {q: in_units(self.modality, quantile(ordered, p, self.counts).numpy()) for q, p in names.items()}
        rows = same.reshape(-1, *[1] * len(self.shape)).numpy()
        return {q: np.where(rows, exact[q], of_draws[q]) for q in names} if exact else of_draws
