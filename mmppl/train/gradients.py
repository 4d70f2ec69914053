"""Gradients of a program's terms, for groups of parameters that may want different signs or rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..core.stages import GradientRule, Group
from ..core.terms import Terms


def gradients_of(terms: Terms, loss: Tensor, groups: Sequence[Group]) -> list[Tensor | None]:
    """What each group descends, for its parameters, group after group.

    Args:
        terms: those that count.
        loss: their weighted sum.
        groups: those that follow no rule and weigh and maximise the same terms alike share one backward pass.

    Returns:
        one gradient for each parameter; None where no term depends on it.
    """
    jobs: dict[object, list[int]] = {}
    for number, group in enumerate(groups):
        weights = tuple(sorted(group.weights.items()))
        key = (number,) if group.rule else (frozenset(terms.keys() & set(group.maximises)), weights)
        jobs.setdefault(key, []).append(number)
    found: dict[int, list[Tensor | None]] = {}
    for place, numbers in enumerate(jobs.values()):
        keep = place < len(jobs) - 1  # the graph, for the jobs that follow
        first = groups[numbers[0]]
        signed = _signed(terms, first)
        if first.rule:
            found[numbers[0]] = by_rule(signed, first.parameters, first.rule, keep)  # type: ignore[arg-type]
            continue
        total = loss if signed is terms else signed.loss
        parameters = [p for number in numbers for p in groups[number].parameters]
        gradients: Iterator[Tensor | None] = iter([None] * len(parameters))
        if total.requires_grad:
            gradients = iter(torch.autograd.grad(total, parameters, allow_unused=True, retain_graph=keep))
        found |= {number: [next(gradients) for _ in groups[number].parameters] for number in numbers}
    return [gradient for number in range(len(groups)) for gradient in found[number]]


def by_rule(
    terms: Terms, parameters: Sequence[Tensor], rule: GradientRule, retain_graph: bool = False
) -> list[Tensor | None]:
    """The gradient that a rule makes of those of the single terms.

    Args:
        terms: with the signs with which they are descended.
        parameters: of one group.
        rule: (P,) weighted gradients by the names of the terms → (P,).
        retain_graph: for what follows.

    Returns:
        one gradient for each parameter.
    """
    moving = {name: pair for name, pair in terms.items() if pair[0].requires_grad}
    flat = {}
    for place, (name, (value, weight)) in enumerate(moving.items()):
        keep = retain_graph or place < len(moving) - 1
        found = torch.autograd.grad(weight * value, parameters, allow_unused=True, retain_graph=keep)
        flat[name] = torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found)])
    if not flat:
        return [None] * len(parameters)
    pieces = rule(flat).split([p.numel() for p in parameters])
    return [piece.view_as(p) for piece, p in zip(pieces, parameters)]


def name_of_rule(rule: GradientRule) -> str:
    """How run.json names a rule."""
    return f"{getattr(rule, '__module__', '')}.{getattr(rule, '__qualname__', type(rule).__qualname__)}"


def _signed(terms: Terms, group: Group) -> Terms:
    """The terms as a group weighs them, with those negative that it maximises."""
    if not terms.keys() & {*group.maximises, *group.weights}:
        return terms
    own = {n: (value, group.weights.get(n, w)) for n, (value, w) in terms.items()}
    return Terms({n: (value, -w if n in group.maximises else w) for n, (value, w) in own.items()})
