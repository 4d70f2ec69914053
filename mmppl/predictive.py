"""From draws to a predictive distribution: weighted moments, quantiles, resampling, the units of the input."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .modality import Modality
from .noise import row_keys, uniforms


def constant(values: Tensor) -> bool:
    """True when (draws, ...) values are the same for every draw."""
    return torch.equal(values[0], values[-1])


def average(values: Tensor, weights: Tensor | None) -> Tensor:
    """(draws, B, ...) → (B, ...), weighted by (draws, B) where there are weights."""
    if weights is None:
        return values.mean(0)
    return torch.einsum("kb...,kb->b...", values.double(), weights).to(values.dtype)


def moments(modality: Modality | None, mean: Tensor, variance: Tensor, weights: Tensor | None) -> dict[str, np.ndarray]:
    """Mean and sd of the mixture over draws, in input units: E v + Var m, decoder spread and latent uncertainty."""
    if modality is not None and modality.transform == "log1p":  # not affine: to input units draw by draw
        m, v = modality.to_input_units(mean.numpy(), variance.numpy())
        mean, variance = torch.from_numpy(m), torch.from_numpy(v)
    centre = average(mean, weights)
    spread = average(variance, weights) + average((mean - centre).square(), weights)
    if modality is None or modality.transform == "log1p":
        return {"mean": centre.numpy(), "std": spread.sqrt().numpy()}
    m, v = modality.to_input_units(centre.numpy(), spread.numpy())
    return {"mean": m, "std": np.sqrt(v)}


def in_units(modality: Modality | None, value: np.ndarray) -> np.ndarray:
    return value if modality is None else modality.value_in_input_units(value)


def quantile(ordered: Tensor, p: float) -> Tensor:
    """The p-quantile of (draws, ...) ascending values, at plotting positions k/(draws + 1)."""
    n = len(ordered)
    position = min(max(p * (n + 1) - 1, 0.0), n - 1.0)
    low = int(position)
    return torch.lerp(
        ordered[low].to(torch.get_default_dtype()),
        ordered[min(low + 1, n - 1)].to(torch.get_default_dtype()),
        position - low,
    )


def resample(weights: Tensor, seed: int, ids: np.ndarray) -> Tensor:
    """(draws, B) indices of equally weighted draws: systematic resampling with keyed noise."""
    draws = weights.shape[0]
    u = uniforms(seed, "resample", row_keys(ids), 1, 1, torch.float64)[0, :, 0]
    points = (torch.arange(draws, dtype=torch.float64).unsqueeze(-1) + u) / draws
    edges = weights.cumsum(0)
    return torch.searchsorted(edges.T.contiguous(), points.T.contiguous()).clamp_max(draws - 1).T


def pick(values: Tensor, picked: Tensor) -> Tensor:
    """values[picked[k, b], b, ...]."""
    index = picked.reshape(*picked.shape, *[1] * (values.ndim - 2)).expand_as(values)
    return values.gather(0, index)
