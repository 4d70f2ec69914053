"""The rules: gradients of several tasks → one, as published, and scaled as impartial optimisation has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from ...base.choices import GRADIENTS, Gradients, choice
from .simplex import cagrad_weights, mgda_weights
from .weights import imtl_weights, norm_weights, pcgrad_weights

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "norm": norm_weights,
    "pcgrad": pcgrad_weights,
    "imtl": imtl_weights,
    "mgda": mgda_weights,
    "cagrad": cagrad_weights,
}
CANCELS = 8.0  # roundings of the parts' size; a sum of parts that is smaller has no direction


def graddrop(gradients: Tensor, chance: Tensor | None = None) -> Tensor:
    """Keep, number by number, the gradients of one sign, positive with probability ½ (1 + Σ g / Σ |g|).

    Args:
        gradients: (..., K, P) of K tasks.
        chance: (..., P) uniform in [0, 1); None: drawn from PyTorch's generator.

    Returns:
        (..., P) sum of what is kept.

    Source: Chen et al. 2020, arXiv:2010.06808, algorithm 1, without leak. Differs at a latent: each number of each row
        has a sign of its own, where the authors and Javaloy et al. 2022 first sum over the rows.

    Example:
        >>> graddrop(torch.tensor([[1.0, 1.0], [-3.0, 1.0]]), torch.tensor([0.5, 0.5]))  # positive: 0.25 and 1
        tensor([-3.,  2.])
    """
    if chance is None:
        chance = torch.rand_like(gradients[..., 0, :])
    size = gradients.abs().sum(-2)
    purity = 0.5 * (1 + gradients.sum(-2) / torch.where(size > 0, size, 1.0))
    return torch.where(purity > chance, gradients.clamp_min(0.0).sum(-2), gradients.clamp_max(0.0).sum(-2))


def combine_gradients(gradients: Tensor, rule: Gradients) -> Tensor:
    """Combine gradients by a rule, and give the result the norm of their sum.

    Args:
        gradients: (..., K, P) of K tasks, of which those that are 0 do not count. Each leading index is a problem of
            its own.
        rule: "norm": all get the same norm (`norm_weights`); "pcgrad": conflicts are projected out; "imtl": equal
            projections on all (IMTL-G); "graddrop": one sign is kept; "mgda": the least norm in their convex hull;
            "cagrad": the task that gains least gains most. Order and signs are drawn from PyTorch's generator.

    Returns:
        (..., P); the sum itself where only one is not 0, or where the combination vanishes and has no direction.

    Raises:
        UsageError: there is no such rule, or it takes no more than 10 gradients.

    Source: Javaloy, Meghdadi, Valera 2022, arXiv:2206.04496. Of their NSGD, which gives all gradients one norm that
        follows their progress since update 20, that norm drops out when the result is scaled, so "norm" has no memory.

    Example:
        >>> combine_gradients(torch.tensor([[8.0, 0.0], [0.0, 6.0]]), "norm")  # as long as (8, 6)
        tensor([7.0711, 7.0711])
    """
    choice("gradients", rule, GRADIENTS)
    total = gradients.sum(-2)
    norms = gradients.norm(dim=-1)
    if rule == "graddrop":
        combined = graddrop(gradients)
        parts = combined.norm(dim=-1)
    else:
        weights = WEIGHTS[rule](gradients @ gradients.mT).to(gradients.dtype)
        combined = (weights.unsqueeze(-2) @ gradients).squeeze(-2)
        parts = (weights.abs() * norms).sum(-1)
    norm = combined.norm(dim=-1)
    sound = (norm > CANCELS * torch.finfo(norm.dtype).eps * parts) & ((norms > 0).sum(-1) > 1)
    factor = total.norm(dim=-1) / torch.where(sound, norm, 1.0)
    return torch.where(sound.unsqueeze(-1), factor.unsqueeze(-1) * combined, total)


class GradientsOfTerms:
    """`combine_gradients` for the terms of a loss, as `Group(rule=...)` or `fit(gradient_rule=...)` takes it.

    Args:
        rule: a rule of `combine_gradients`.

    Example:
        >>> GradientsOfTerms("pcgrad")({"nll.x": torch.tensor([1.0, 0.0]), "nll.y": torch.tensor([0.0, 1.0])})
        tensor([1., 1.])
    """

    def __init__(self, rule: Gradients) -> None:
        self.rule = rule
        self.__qualname__ = f"{type(self).__qualname__}({rule})"  # by which run.json tells it from others

    def __call__(self, gradients: Mapping[str, Tensor]) -> Tensor:
        return combine_gradients(torch.stack(list(gradients.values())), self.rule)


def combiner(rule: Gradients | None) -> Callable[[Tensor], Tensor] | None:
    """`combine_gradients` by one rule.

    Args:
        rule: of `combine_gradients`; None: none.

    Returns:
        (..., K, P) → (..., P); None without a rule.
    """
    return None if rule is None else partial(combine_gradients, rule=rule)
