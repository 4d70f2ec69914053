"""Conditions (role "condition"): taken out of the schema before a program sees it, and bound to its modalities.

A program knows what it has a distribution for. What it only looks at, such as a batch, a site or an age, is none of its
modalities: it is in no subset, in no table of conditioning sets and no target. Networks see it because each modality
brings its covariates along: `Batch.input` puts their columns behind an encoder's input, and `observe` behind what a
decoder gets. This is the conditional VAE of Sohn, Lee & Yan 2015 ("Learning Structured Output Representation using Deep
Conditional Generative Models", eq. 4, there with the prior p(z | c)), with the prior p(z) of its "relaxed" form.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..modalities.modality import Modality

if TYPE_CHECKING:
    from .program import Program


def binding_covariates(constructor: Callable[..., None]) -> Callable[..., None]:
    """Make a constructor of a program see modalities and labels alone, to which the conditions are bound.

    Args:
        constructor: the `__init__` of a program.

    Returns:
        A constructor that takes the conditions, too.
    """

    @functools.wraps(constructor)
    def bound(self: Program, *args: Any, **hyper: Any) -> None:
        if args:
            args = (bind_covariates(self, args[0]), *args[1:])
        elif "modalities" in hyper:
            hyper["modalities"] = bind_covariates(self, hyper["modalities"])
        constructor(self, *args, **hyper)

    return bound


def bind_covariates(program: Program, modalities: Sequence[Modality]) -> Sequence[Modality]:
    """Take the conditions out of a schema, and keep them in `program.covariates`.

    Args:
        program: the program that is being made.
        modalities: the schema.

    Returns:
        The other modalities, with the conditions as their covariates; `modalities` itself if there is no condition.

    Raises:
        UsageError: the program takes no conditions, or nothing but conditions is there.
    """
    covariates = sorted((m for m in modalities if m.role == "condition"), key=lambda m: m.name)
    if not covariates:
        return modalities
    names = ", ".join(m.name for m in covariates)
    if not program.takes_covariates:
        raise UsageError(
            f"{type(program).__name__}: {names}: it takes no conditions; leave them out (--as {covariates[0].name}="
            "ignore), or choose a program that takes them."
        )
    if len(covariates) == len(modalities):
        raise UsageError(f"{type(program).__name__}: there are conditions only ({names}); a modality is needed.")
    program.schema, program.covariates = tuple(modalities), tuple(covariates)
    return [dataclasses.replace(m, covariates=program.covariates) for m in modalities if m.role != "condition"]
