"""The sites of a model at which modalities are scored or, where a query wants them, sampled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from ..distributions.fan_out import branch
from ..modalities.likelihoods.registry import LIKELIHOODS
from ..modalities.modality import Modality
from .batch import SIZE, Batch


def observe(
    modality: Modality,
    decoder: Callable[[Tensor], Tensor],
    z: Tensor,
    batch: Batch,
    scale: Tensor | None = None,
    *,
    beside: Tensor | None = None,
) -> None:
    """Decode a modality and score it under its likelihood or, where a query wants it, sample it.

    What nothing reads is not decoded: no modality that a query does not need, and, where it pays (`row_selection`), no
    row (and subset) in which the modality is not scored. A site that left out rows has a density, but neither mean nor
    draws.

    Args:
        modality: the modality, whose name is the name of the site.
        decoder: maps latents (..., D), and covariates behind them, to the parameters of the likelihood,
            (..., modality.output_size), row by row. It decodes all rows unless it is an `nn.Module`, for example where
            it is `lambda z: output` for an output that has been computed already.
        z: (..., B, D), latents. The decoder gets the columns of the modality's covariates behind them, (..., B, D + C).
            Decoders that get the same tensor share it: their gradients there are those that `--gradients` combines.
        batch: the batch.
        scale: overrides the modality's own scale (model units; broadcasts against the features).
        beside: (..., B, E), what the decoder gets between latents and covariates and shares with no other, such as a
            latent of its own or what the model conditions on.

    Example:
        >>> import torch
        >>> x = {"x": torch.zeros(3, 2)}
        >>> everywhere = {"x": torch.ones(3, dtype=torch.bool)}
        >>> batch = Batch(x, everywhere, index=torch.arange(3), size=3, encoded=("x",))
        >>> def model():
        ...     with batch.plates():
        ...         observe(Modality("x", (2,), "normal", scale=1.0), nn.Identity(), torch.zeros(3, 2), batch)
        >>> site = poutine.trace(model).get_trace().nodes["x"]
        >>> site["fn"].log_prob(site["value"])
        tensor([-1.8379, -1.8379, -1.8379])
    """
    name = modality.name
    if batch.needed is not None and name not in batch.needed:  # nothing reads the site
        return
    z = branch(z, name, tuple(batch.values))
    behind = [] if beside is None else [beside]
    if modality.covariates:
        behind.append(batch.beside(modality.covariates, decoded=True).to(z.dtype))
    if behind:
        z = torch.cat([z, *(part.expand(*z.shape[:-1], -1) for part in behind)], -1)
    wanted = name in batch.free
    total = batch.instead.get(f"{SIZE}{name}")
    if wanted and total is not None and f"{SIZE}{name}" not in {m.name for m in modality.covariates}:
        counts: Any = modality.family
        modality = counts.of_total(modality, float(total))
    whole = wanted or z.shape[:-1] != batch.seen.shape[:-1] or not isinstance(decoder, nn.Module)
    selection = None if whole else batch.selection(modality, _weight(decoder))
    output = decoder(z if selection is None else selection.of(z))
    likelihood: Any = LIKELIHOODS[modality.likelihood](modality, output, scale)
    if wanted:
        pyro.sample(name, likelihood, infer={"leaf": True})  # this returns nothing: nothing depends on it
        return
    value = (batch.value if likelihood.masks else batch.plausible)(name)
    if name in batch.present:
        present = batch.present[name]
        likelihood = likelihood.of_elements(present if selection is None else selection.of_rows(present))
    if selection is not None:
        likelihood = selection.spread(likelihood)
    with poutine.mask(mask=batch.scored[name]):
        pyro.sample(name, likelihood, obs=value)


def _weight(decoder: Any) -> int:
    """How many numbers a network holds: how often it multiplies per row, or less where it convolves."""
    return sum(p.numel() for p in decoder.parameters())
