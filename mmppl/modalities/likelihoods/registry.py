"""Likelihoods by name."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import UsageError, suggest
from ..modality import Modality
from .likelihood import Likelihood

LIKELIHOODS: dict[str, type[Likelihood]] = {}


def likelihood(name: str) -> Callable[[type[Likelihood]], type[Likelihood]]:
    """Class decorator that makes a likelihood known by name."""

    def add(cls: type[Likelihood]) -> type[Likelihood]:
        LIKELIHOODS[name] = cls
        return cls

    return add


def likelihood_of(modality: Modality) -> type[Likelihood]:
    """The class behind `modality.likelihood`; UsageError for an unknown name."""
    try:
        return LIKELIHOODS[modality.likelihood]
    except KeyError:
        known = sorted(LIKELIHOODS)
        raise UsageError(
            f"{modality.name}: no likelihood {modality.likelihood!r}; known are {', '.join(known)}."
            + suggest(modality.likelihood, known)
        ) from None
