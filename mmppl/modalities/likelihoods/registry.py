"""Likelihoods by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...base.registry import Registry

if TYPE_CHECKING:
    from .likelihood import Likelihood


def _lacks(thing: type[Likelihood]) -> list[str]:
    """The required parts that it does not have."""
    return thing.lacking() if hasattr(thing, "lacking") else ["the base class mmppl.Likelihood"]


LIKELIHOODS: Registry[type[Likelihood]] = Registry(
    "likelihood", __package__, aside=("registry", "likelihood"), lacks=_lacks
)


def likelihood(name: str) -> Callable[[type[Likelihood]], type[Likelihood]]:
    """Class decorator that makes a likelihood known by name, to schemas and to `--as`.

    Args:
        name: what a schema and `--as` call it.
    Raises:
        UsageError: the name is taken, or a required part is missing.
    """
    return LIKELIHOODS.register(name)
