"""From the units of the input to those of the model and back."""

from __future__ import annotations

import numpy as np

from .modality import Modality


def _illegal(m: Modality, raw: np.ndarray) -> tuple[np.ndarray, str]:
    """Cells that the modality cannot hold, and why."""
    if m.transform == "image":
        return (raw < 0) | (raw > 255), "is not a grey value from 0 to 255."
    if m.transform == "log1p":
        return raw < 0, "is negative, and this modality is a count."
    if m.likelihood == "bernoulli":
        return (raw < 0) | (raw > 1), "lies outside [0, 1], where a Bernoulli lives; rescale it, or fit it as normal."
    return np.zeros(raw.shape, dtype=bool), ""
