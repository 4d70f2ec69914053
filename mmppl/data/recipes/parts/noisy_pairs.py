"""Pairs of a class in some of which either side is noise.

Source: "Importance-based Multimodal Autoencoder" (OpenReview 4jXnFYaDOuD), its data MNIST-TIDIGITS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....base.random import generator
from ....errors import DataError, UsageError
from ...splits import PARTS
from .pairing import in_turn

MEAN, SD = 0.5, 0.12  # of white noise in a pixel


@dataclass(frozen=True)
class Side:
    """One modality of the pairs.

    Args:
        name: the modality.
        labels: (N,) the class of each of its base objects.
        split: (N,) int8 codes of the parts that they may be shown in.
        clean: (n,) row numbers of base objects → (n, *shape) values.
        noise: (count, row numbers of the part's base objects, random generator) → (count, *shape) values.
    """

    name: str
    labels: np.ndarray
    split: np.ndarray
    clean: Callable[[Tensor], Tensor]
    noise: Callable[[int, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Pairs:
    """The rows, in random order within the parts.

    Args:
        values: name → (n, *shape).
        label: (n,) int64 classes, of the clean side where the other one is noise.
        split: (n,) int8 codes of the parts.
        base: name → (n,) int64 row numbers of the base objects; −1 where the modality is noise.
    """

    values: dict[str, Tensor]
    label: np.ndarray
    split: np.ndarray
    base: dict[str, np.ndarray]

    def noise(self, name: str) -> np.ndarray:
        """Return (n,) bool, True where that modality is noise."""
        return self.base[name] < 0


def check_noise(recipe: str, noise: float, sparsity: float, **per_class: int) -> None:
    """Check the options that recipes with noise share.

    Args:
        recipe: the name of the recipe, for messages.
        noise: R.
        sparsity: κ.
        **per_class: base objects of each class and part, by the names of the options.

    Raises:
        UsageError: R is outside [0, 1), κ outside [0, 1], or a number less than 1.
    """
    if not 0 <= noise < 1:
        raise UsageError(f"{recipe}: noise={noise:g} is not a share of the pairs; give 0 or more and less than 1.")
    if not 0 <= sparsity <= 1:
        raise UsageError(f"{recipe}: sparsity={sparsity:g} is not a share of the pixels; give a number from 0 to 1.")
    for name, count in per_class.items():
        if count < 1:
            raise UsageError(f"{recipe}: {name}={count}: every class needs at least one.")


def noisy_pairs(
    recipe: str, first: Side, second: Side, per_class: Sequence[int], noise: float, *, seed: int, same: bool = False
) -> Pairs:
    """Pair base objects of a class: of N, N(1 − R) with each other, NR of either side with noise on the other.

    There are N(1 + R) rows of each class, and either modality is noise in R/(1 + R) of them. No base object is shown
    again before all of its class and part have been.

    Args:
        recipe: the name of the recipe, for messages.
        first: one modality.
        second: the other one.
        per_class: N of train, valid and test.
        noise: R; NR is rounded.
        seed: the seed of all draws.
        same: whether both sides of a clean pair show the same base object, whose row has the same number in both.

    Returns:
        The pairs.

    Raises:
        DataError: a part lacks a class on one side.
    """
    sides, classes = (first, second), np.unique(np.concatenate([first.labels, second.labels]))
    values: dict[str, list[Tensor]] = {side.name: [] for side in sides}
    base: dict[str, list[Tensor]] = {side.name: [] for side in sides}
    labels, split = [], []
    for part, count in enumerate(per_class):
        label, noisy = _plan(classes, count, noise, generator(seed, "order of pairs", part))
        for place, side in enumerate(sides):
            there = np.flatnonzero(side.split == part)
            lacking = sorted(set(classes.tolist()) - set(side.labels[there].tolist()))
            if lacking:
                raise DataError(
                    f"{recipe}: no {PARTS[part]} row can show a {lacking[0]}: there is no {side.name} of it; every "
                    "class is needed in train, valid and test."
                )
            is_noise = noisy[:, place]
            rows = torch.full((len(label),), -1)
            clean = np.flatnonzero(~is_noise)
            draw = generator(seed, "pairs", side.name, part)
            rows[torch.from_numpy(clean)] = in_turn(label[clean], side.labels, there, draw)
            if same and place:
                other = base[first.name][-1]
                rows = torch.where((rows >= 0) & (other >= 0), other, rows)
            shown = side.clean(rows.clamp(min=0))
            made = side.noise(int(is_noise.sum()), torch.from_numpy(there), generator(seed, "noise", side.name, part))
            shown[torch.from_numpy(is_noise)] = made
            values[side.name].append(shown)
            base[side.name].append(rows)
        labels.append(label)
        split.append(np.full(len(label), part, np.int8))
    return Pairs(
        {name: torch.cat(shown) for name, shown in values.items()},
        np.concatenate(labels),
        np.concatenate(split),
        {name: torch.cat(rows).numpy() for name, rows in base.items()},
    )


def _plan(classes: np.ndarray, count: int, noise: float, draw: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) labels and (n, 2) whether either side is noise, in random order."""
    noisy = round(count * noise)
    kinds = np.repeat(np.array([[False, False], [False, True], [True, False]]), [count - noisy, noisy, noisy], axis=0)
    order = torch.randperm(len(classes) * len(kinds), generator=draw).numpy()
    return np.repeat(classes, len(kinds))[order].astype(np.int64), np.tile(kinds, (len(classes), 1))[order]


def white_images(count: int, shape: Sequence[int], sparsity: float, draw: torch.Generator) -> Tensor:
    """Draw noise images: Gaussian pixels of mean .5 and sd .12, of which a share κ is set to 0.

    Args:
        count: their number.
        shape: the shape of one.
        sparsity: κ; in every image the same number of pixels, rounded.
        draw: the random generator.

    Returns:
        (count, *shape) in [0, 1].
    """
    size = int(np.prod(shape))
    pixels = (MEAN + SD * torch.randn(count, size, generator=draw)).clamp_(0, 1)
    order = torch.rand(count, size, generator=draw).argsort(1)
    return pixels.scatter_(1, order[:, : round(sparsity * size)], 0.0).reshape(count, *shape)


def shuffled(values: Tensor, draw: torch.Generator) -> Tensor:
    """Put what lies along the first axis of every sample into a random order, its own for each.

    Args:
        values: (n, places, *rest).
        draw: the random generator.

    Returns:
        The same shape.
    """
    order = torch.rand(values.shape[:2], generator=draw).argsort(1)
    return values.gather(1, order.reshape(*order.shape, *[1] * (values.ndim - 2)).expand_as(values))


def any_of(rows: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """Draw row numbers with replacement, of whatever class: noise that is made of them tells nothing about the class.

    Args:
        rows: (n,) row numbers to draw from.
        count: how many to draw.
        draw: the random generator.

    Returns:
        (count,) row numbers.
    """
    return rows[torch.randint(len(rows), (count,), generator=draw)]
