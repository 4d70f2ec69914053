"""What a data set contains, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .annotations import describe_annotations
from .splits import PARTS

if TYPE_CHECKING:
    from .dataset import Dataset


def described(data: Dataset) -> dict[str, Any]:
    """Describe a data set, as `Dataset.describe` says."""
    inputs = [m.name for m in data.modalities if m.role == "modality"]
    seen = np.stack([data.observed[name].numpy() for name in inputs], -1)
    patterns = Counter("+".join(n for n, there in zip(inputs, row) if there) for row in seen.tolist())
    empty = patterns.pop("", 0)
    return {
        "name": data.name,
        "n": len(data),
        "split": {part: int((data.split == code).sum()) for code, part in enumerate(PARTS)},
        "has_split": data.has_split,
        "modalities": [
            {
                "name": m.name,
                "shape": list(m.shape),
                "likelihood": m.likelihood,
                "scale": m.scale,
                "role": m.role,
                "transform": m.transform,
                "classes": None if m.classes is None else list(m.classes),
                "observed": float(data.observed[m.name].double().mean()),
                **({"lengths": _lengths(data, m.name)} if m.sequence else {}),
                **({"cells": _cells(data, m.name)} if m.name in data.present and not m.sequence else {}),
            }
            for m in data.modalities
        ],
        "patterns": dict(patterns.most_common()),
        "empty_rows": empty,
        "annotations": describe_annotations(data.annotations),
        "notes": list(data.notes),
        "findings": [finding.to_json() for finding in data.findings],
    }


def _lengths(data: Dataset, name: str) -> list[float]:
    """The least, the median and the most steps of the rows that have a sequence; [] if none has it."""
    counts = data.present[name][data.observed[name]].flatten(1).sum(1).double()
    return [float(number(counts)) for number in (torch.min, torch.median, torch.max)] if len(counts) else []


def _cells(data: Dataset, name: str) -> float:
    """The share of its cells that the rows with a modality have."""
    return float(data.present[name][data.observed[name]].double().mean())
