"""The sites of a model at which modalities are scored or, where a query wants them, sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
from pyro import poutine
from torch import Tensor, nn

from ..modalities.likelihoods.registry import LIKELIHOODS
from ..modalities.modality import Modality
from .batch import Batch


def observe(
    modality: Modality, decoder: Callable[[Tensor], Tensor], z: Tensor, batch: Batch, scale: Tensor | None = None
) -> None:
    """Decode a modality and score it under its likelihood or, where a query wants it, sample it.

    Nothing is decoded that nobody reads: not a modality that a query has no need of, and, where it pays
    (`row_selection`), no row (and subset) in which the modality is not scored. A site that left rows out has a density,
    but neither mean nor draws.

    Args:
        decoder: from latents (..., D) to the parameters of the likelihood, (..., modality.output_size), row by row. Of
            what is no `nn.Module`, such as `lambda z: output` for an output that is there already, all rows are asked.
        z: (..., B, D), latents.
        scale: overrides the modality's own scale (model units; broadcasts against the features).
    """
    name = modality.name
    if not batch.needs(name):
        return
    wanted = name in batch.free
    whole = wanted or z.shape[:-1] != batch.seen.shape[:-1] or not isinstance(decoder, nn.Module)
    selection = None if whole else batch.selection(modality, _weight(decoder))
    output = decoder(z if selection is None else selection.of(z))
    likelihood: Any = LIKELIHOODS[modality.likelihood](modality, output, scale)
    if wanted:
        pyro.sample(name, likelihood, infer={"leaf": True})  # this returns nothing: nothing depends on it
        return
    value = (batch.value if likelihood.masks else batch.plausible)(name)
    if selection is not None:
        likelihood = selection.spread(likelihood)
    with poutine.mask(mask=batch.scored[name]):
        pyro.sample(name, likelihood, obs=value)


def _weight(decoder: Any) -> int:
    """Numbers that a network holds: what it multiplies for each row, or (convolutions) less."""
    return sum(p.numel() for p in decoder.parameters())
