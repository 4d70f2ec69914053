"""Likelihoods by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...base.registry import Registry

if TYPE_CHECKING:
    from .likelihood import Likelihood


def _lacks(thing: type[Likelihood]) -> list[str]:
    """The required parts that a likelihood does not have."""
    return thing.lacking() if hasattr(thing, "lacking") else ["the base class mmppl.Likelihood"]


LIKELIHOODS: Registry[type[Likelihood]] = Registry(
    "likelihood",
    __package__,
    folders=("counts",),
    aside=("registry", "contest", "likelihood", "noise", "state", "count", "quantiles"),
    lacks=_lacks,
)


def likelihood(name: str) -> Callable[[type[Likelihood]], type[Likelihood]]:
    """Make a class decorator that registers a likelihood by name, for schemas and for `--as`.

    Args:
        name: the name by which schemas and `--as` call it.

    Returns:
        A decorator that registers a class and returns it.

    Raises:
        UsageError: the name is taken, or the class lacks a required part.

    Example:
        >>> import torch
        >>> from mmppl import Likelihood, Modality
        >>> @likelihood("exponential")
        ... class Exponential(Likelihood):
        ...     values = "numbers"
        ...     mean = property(lambda self: self._event(self.output.exp()))
        ...     variance = property(lambda self: self.mean**2)
        ...
        ...     def log_prob(self, value):
        ...         return -(self._flat(value) / self.output.exp() + self.output).sum(-1)
        ...
        ...     def from_uniform(self, u):
        ...         return self._event(-self.output.exp() * torch.log1p(-u))
        >>> m = Modality("waiting time", (1,), "exponential")
        >>> m.family(m, torch.zeros(2, 1)).log_prob(torch.tensor([[1.0], [2.0]]))
        tensor([-1., -2.])
        >>> LIKELIHOODS.forget("exponential")  # only so that this example leaves nothing behind
    """
    return LIKELIHOODS.register(name)
