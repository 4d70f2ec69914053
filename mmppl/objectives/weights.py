"""Weights of the terms of a loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from ..core.terms import Weight
from ..errors import UsageError
from ..modalities.kinds import kind
from ..modalities.modality import Modality

MOST = 50.0  # of a label's weight that was not given


def warmup(weight: float, progress: Tensor, share: float) -> Weight:
    """Let a weight rise linearly from 0 over the first part of the training.

    Args:
        weight: the weight at the end of the rise.
        progress: 0-d, the program's clock in [0, 1].
        share: the share of the training over which it rises; with 0 the weight is constant.

    Returns:
        The weight now: a tensor, or a plain number where `share` is 0.

    Example:
        >>> import torch
        >>> warmup(2.0, torch.tensor(0.1), 0.4)
        tensor(0.5000)
    """
    return weight * (progress / share).clamp(max=1.0) if share else weight


def annealing(progress: Tensor, share: float) -> Weight:
    """Let a weight be 1 over the first part of the training, then fall linearly to 0 at its end.

    Args:
        progress: 0-d, the program's clock in [0, 1].
        share: the share of the training until which it is 1; with 1 it always is.

    Returns:
        The weight now: a tensor, or 1 where `share` is 1.

    Example:
        >>> import torch
        >>> [round(annealing(torch.tensor(t), 0.5).item(), 2) for t in (0.0, 0.5, 0.6, 1.0)]
        [1.0, 1.0, 0.8, 0.0]
    """
    return ((1 - progress) / (1 - share)).clamp(max=1.0) if share < 1 else 1.0


def likelihood_weights(
    modalities: Sequence[Modality],
    *,
    weigh: tuple[float, ...] | Literal["size"] = (),
    label_weight: float | None = None,
) -> dict[str, float]:
    """Weights of the modalities' log-likelihoods.

    A label is ln K nats among the many of a row's features, on which a latent of limited size is spent. Without a
    weight that was given, each of L labels gets

        w = √(F / (L · nats)), at least 1 and at most MOST,

    where F is the number of features of all modalities, each times its weight (characters of a text count as features),
    and nats those of a label that is guessed: ln K for each of its classes, ln 2 for each tag, 1 for each number. It is
    the geometric mean of a nat for a nat (1) and of labels that weigh as much as all features (F / L nats), which hurts
    imputation.

    Args:
        modalities: the schema of the data.
        weigh: one number per modality in their order, labels left out; (): 1 for each; "size": the features
            of the largest over its own features, max d / d_m (characters of a text count as features).
        label_weight: weight of whatever has the role label; None: the rule above.

    Returns:
        name → weight.

    Raises:
        UsageError: the number of weights differs from that of the modalities, or one is negative.

    Source: max d / d_m as in the code of Sutter et al. 2021, and of Shi et al. 2019 (3072/784 for MNIST beside SVHN).

    Example:
        >>> two = [Modality("image", (28, 28), "bernoulli"), Modality("sound", (196,), "normal")]
        >>> likelihood_weights(two, weigh="size")
        {'image': 1.0, 'sound': 4.0}
        >>> label = Modality("label", (), "categorical", role="label", classes=tuple(range(10)))
        >>> round(likelihood_weights([Modality("sound", (196,), "normal"), label])["label"], 1)
        9.2
    """
    seen = [m for m in modalities if m.role != "label"]
    if weigh == "size":
        weigh = tuple(max(m.size for m in seen) / m.size for m in seen)
    elif weigh == ():
        weigh = (1.0,) * len(seen)
    if len(weigh) != len(seen) or any(w < 0 for w in weigh):
        names = ", ".join(m.name for m in seen)
        raise UsageError(f"weights {weigh}: expected one number ≥ 0 for each of {names}, none at all, or size.")
    of_modalities = {m.name: w for m, w in zip(seen, weigh)}
    labels = [m for m in modalities if m.role == "label"]
    share = sum(w * m.size for m, w in zip(seen, weigh)) / max(len(labels), 1)
    balanced = {m.name: min(max((share / _nats(m)) ** 0.5, 1.0), MOST) for m in labels}
    return of_modalities | {m.name: balanced[m.name] if label_weight is None else label_weight for m in labels}


def _nats(label: Modality) -> float:
    """Nats of a label that is guessed: of every class that it names, of every yes or no, or 1 for every number."""
    tags = kind(label) == "tags"
    return label.size * (math.log(max(label.n_classes, 2)) if label.classes or tags else 1.0)


def cross_weights(
    modalities: Sequence[Modality], weights: Mapping[str, float], cross: float | tuple[float, ...]
) -> dict[str, float]:
    """Weights of the modalities' log-likelihoods where another modality was encoded: `cross` times a modality's own
    weight.

    Args:
        modalities: the schema of the data.
        weights: name → weight of its log-likelihood.
        cross: one number for all, or one for each modality in their order, labels included.

    Returns:
        name → weight.

    Raises:
        UsageError: the number of weights differs from that of the modalities, or one is negative.

    Example:
        >>> two = [Modality("image", (28, 28), "bernoulli"), Modality("sound", (196,), "normal")]
        >>> cross_weights(two, {"image": 1.0, "sound": 4.0}, 0.5)
        {'image': 0.5, 'sound': 2.0}
    """
    of_each = (cross,) * len(modalities) if isinstance(cross, int | float) else tuple(cross)
    if len(of_each) != len(modalities) or any(c < 0 for c in of_each):
        names = ", ".join(m.name for m in modalities)
        raise UsageError(f"cross {cross}: expected one number ≥ 0, or one for each of {names}.")
    return {m.name: c * weights[m.name] for m, c in zip(modalities, of_each)}
