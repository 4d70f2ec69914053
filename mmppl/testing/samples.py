"""Small data on which programs are checked: one modality of each kind, any of them missing."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from ..data.dataset import Dataset
from ..modalities.modality import Modality
from ..modalities.scaling import Scaling


def small_data(rows: int = 48, seed: int = 0) -> Dataset:
    """Draw an image in [0, 1], a signal, a word and a label of three classes. All of them depend on the class.

    Args:
        rows: how many.
        seed: of everything random.

    Returns:
        The data. A quarter of everything is missing; the first row has everything, the last row nothing.
    """
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (rows,), generator=rng)
    shade = label.reshape(-1, 1, 1) / 4 + 0.4 * torch.rand(rows, 4, 4, generator=rng)
    values = {
        "image": shade,
        "signal": torch.randn(rows, 5, generator=rng) + label.unsqueeze(-1),
        "word": (torch.randint(0, 2, (rows, 3), generator=rng) + label.unsqueeze(-1)) % 4,
        "label": label,
    }
    observed = {name: torch.rand(rows, generator=rng) >= 0.25 for name in values}
    for seen in observed.values():
        seen[0], seen[-1] = True, False
    modalities = (
        Modality("image", (4, 4), "bernoulli"),
        Modality("signal", (5,), "normal", scale="learned"),
        Modality("word", (3,), "categorical", classes=("a", "b", "c", "d")),
        Modality("label", (), "categorical", role="label", classes=(0, 1, 2)),
    )
    return Dataset("small data", modalities, values, observed, np.arange(rows), np.zeros(rows, dtype=np.int8), True)


def small_labels(rows: int = 48, seed: int = 0) -> Dataset:
    """Draw two vectors and labels of every kind: ordered classes, tags, a survival time, and a number.

    Args:
        rows: how many.
        seed: of everything random.

    Returns:
        The data. A quarter of everything is missing; the first row has everything, the last row nothing.
    """
    rng = torch.Generator().manual_seed(seed)
    cause = torch.randn(rows, generator=rng)
    wide = cause.unsqueeze(-1)
    time = torch.exp(cause + 0.5 * torch.randn(rows, generator=rng))
    values = {
        "gene": wide + torch.randn(rows, 5, generator=rng),
        "scan": wide + torch.randn(rows, 3, generator=rng),
        "stage": torch.bucketize(cause + 0.5 * torch.randn(rows, generator=rng), torch.tensor([-1.0, 0.0, 1.0])),
        "tags": (wide + torch.randn(rows, 3, generator=rng) > 0).float(),
        "time": torch.where(torch.rand(rows, generator=rng) < 0.3, -time, time),
        "score": cause,
    }
    observed = {name: torch.rand(rows, generator=rng) >= 0.25 for name in values}
    for seen in observed.values():
        seen[0], seen[-1] = True, False
    modalities = (
        Modality("gene", (5,), "normal"),
        Modality("scan", (3,), "laplace"),
        Modality("stage", (), "ordinal", role="label", classes=("I", "II", "III", "IV")),
        Modality("tags", (3,), "bernoulli", role="label"),
        Modality("time", (), "weibull", role="label", event="event_time", input_scaling=Scaling("log", (0.0,), (1.0,))),
        Modality("score", (), "normal", role="label"),
    )
    return Dataset("small labels", modalities, values, observed, np.arange(rows), np.zeros(rows, dtype=np.int8), True)


def small_series(rows: int = 40, steps: int = 7, seed: int = 0) -> Dataset:
    """Draw series of unequal length of numbers, of bits and of words, a vector, and a label of three classes.

    Args:
        rows: how many.
        steps: T, the most steps of a series.
        seed: of everything random.

    Returns:
        The data. A quarter of everything is missing; the first row has everything, the last row nothing.
    """
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (rows,), generator=rng)
    wide = label.reshape(-1, 1, 1)
    values = {
        "watch": torch.randn(rows, steps, 3, generator=rng) + wide,
        "bits": (torch.rand(rows, steps, 2, generator=rng) < (wide + 1) / 4).float(),
        "words": (torch.randint(0, 2, (rows, steps, 1), generator=rng) + wide) % 4,
        "vector": torch.randn(rows, 4, generator=rng) + label.unsqueeze(-1),
        "label": label,
    }
    observed = {name: torch.rand(rows, generator=rng) >= 0.25 for name in values}
    for seen in observed.values():
        seen[0], seen[-1] = True, False
    modalities = (
        Modality("watch", (steps, 3), "normal", sequence=True),
        Modality("bits", (steps, 2), "bernoulli", sequence=True),
        Modality("words", (steps, 1), "categorical", classes=("a", "b", "c", "d"), sequence=True),
        Modality("vector", (4,), "normal", scale="learned"),
        Modality("label", (), "categorical", role="label", classes=(0, 1, 2)),
    )
    present = {}
    for m in modalities[:3]:
        length = torch.randint(1, steps + 1, (rows, 1), generator=rng)
        present[m.name] = ((torch.arange(steps) < length) & observed[m.name].unsqueeze(-1)).unsqueeze(-1)
        values[m.name] = torch.where(present[m.name], values[m.name], torch.zeros_like(values[m.name]))
    return Dataset(
        "small series", modalities, values, observed, np.arange(rows), np.zeros(rows, dtype=np.int8), True,
        present=present,
    )  # fmt: skip


def small_gaps(rows: int = 48, seed: int = 0) -> Dataset:
    """Take single cells out of `small_data`, a quarter of those of every modality.

    Args:
        rows: how many.
        seed: of everything random.

    Returns:
        The data. The first row has everything, and the last row nothing.
    """
    data = small_data(rows, seed)
    rng = torch.Generator().manual_seed(seed)
    values, observed, present = dict(data.values), dict(data.observed), {}
    modalities = tuple(m if m.role == "label" else dataclasses.replace(m, gaps=True) for m in data.modalities)
    for m in modalities:
        if m.gaps:
            there = torch.rand(values[m.name].shape, generator=rng) >= 0.25
            there[0] = True
            there &= observed[m.name].reshape(-1, *[1] * len(m.shape))
            observed[m.name], present[m.name] = there.flatten(1).any(1), there
            values[m.name] = torch.where(there, values[m.name], torch.zeros_like(values[m.name]))
    return dataclasses.replace(data, modalities=modalities, values=values, observed=observed, present=present)


def overwritten(data: Dataset, filler: float) -> Dataset:
    """Return the same data with other numbers where nothing was observed.

    Args:
        data: the rows.
        filler: the number; for classes it is 1000. It also stands where elements of a row do not exist.

    Returns:
        The rows.
    """
    values = {name: value.clone() for name, value in data.values.items()}
    for name, value in values.items():
        there = data.observed[name].reshape(-1, *[1] * (value.ndim - 1)) & data.present.get(name, torch.tensor(True))
        value[~there.expand(value.shape)] = filler if value.is_floating_point() else 1000
    return dataclasses.replace(data, values=values)


def turned(data: Dataset) -> Dataset:
    """Return the same data with its modalities in the opposite order."""
    order = data.modalities[::-1]
    values, observed = ({m.name: of[m.name] for m in order} for of in (data.values, data.observed))
    present = {m.name: data.present[m.name] for m in order if m.name in data.present}
    return dataclasses.replace(data, modalities=order, values=values, observed=observed, present=present)
