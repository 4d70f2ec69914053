"""Traces of a model and a guide on a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pyro
import torch
from pyro import poutine
from torch import Tensor

from ..base.precision import full_precision
from ..core.batch import Batch

if TYPE_CHECKING:
    from ..core.program import Program


class Traces(NamedTuple):
    """One run of the guide, and of the model replayed on the guide's draws.

    Attributes:
        model: Pyro's trace of the model.
        guide: Pyro's trace of the guide.
        batch: the batch.

    Example:
        >>> from mmppl import Modality, load_program
        >>> program = load_program("mvae")([Modality("x", (3,), "normal")], latent_dim=2)
        >>> values, everywhere = {"x": torch.zeros(5, 3)}, {"x": torch.ones(5, dtype=torch.bool)}
        >>> batch = Batch(values, everywhere, index=torch.arange(5), size=5, encoded=program.encoded)
        >>> traces = trace(program, batch)
        >>> traces.latents(), traces.value("z").shape
        (['z'], torch.Size([5, 2]))
    """

    model: Any
    guide: Any
    batch: Batch

    def latents(self) -> list[str]:
        """Return the names of the latent sites of the guide."""
        nodes = self.guide.nodes.items()
        return [name for name, site in nodes if is_random(site) and not site["is_observed"]]

    def value(self, name: str) -> Tensor:
        """Return the guide's draw at a latent site."""
        return self.guide.nodes[name]["value"]


def trace(program: Program, batch: Batch, guide: Callable[[Batch], None] | None = None) -> Traces:
    """Run the guide, then the model on the guide's draws.

    Args:
        program: the program.
        batch: the batch.
        guide: another guide than the program's own.

    Returns:
        The traces of both.

    Example:
        >>> from mmppl import Modality, load_program
        >>> program = load_program("mvae")([Modality("x", (3,), "normal")], latent_dim=2)
        >>> values, everywhere = {"x": torch.zeros(5, 3)}, {"x": torch.ones(5, dtype=torch.bool)}
        >>> batch = Batch(values, everywhere, index=torch.arange(5), size=5, encoded=program.encoded)
        >>> trace(program, batch).model.nodes["x"]["value"].shape
        torch.Size([5, 3])
    """
    drawn = poutine.trace(program.guide if guide is None else guide).get_trace(batch)
    model = poutine.trace(poutine.replay(program.model, trace=drawn)).get_trace(batch)
    return Traces(model, drawn, batch)


def is_random(site: Mapping[str, Any]) -> bool:
    """Return whether a sample site is a random variable, not the subsample of a plate."""
    return site["type"] == "sample" and not pyro.poutine.util.site_is_subsample(site)


def _log_density(site: Mapping[str, Any]) -> Tensor:
    """ln p of what was observed. Where the likelihood takes a mask, it does no work for masked rows."""
    if getattr(site["fn"], "masks", False) and isinstance(site["mask"], Tensor):
        return site["fn"].log_prob(site["value"], mask=site["mask"])
    return site["fn"].log_prob(site["value"])


def _scored(traces: Traces) -> dict[str, Any]:
    """The model's observed sites by name."""
    return {n: s for n, s in traces.model.nodes.items() if is_random(s) and s["is_observed"]}


def _masked(site: Mapping[str, Any], log_prob: Tensor) -> Tensor:
    """0 where the site does not count; float32, even where a program's own distributions are in bfloat16 under
    autocast.
    """
    log_prob = full_precision(log_prob)
    return log_prob if site["mask"] is None else torch.where(site["mask"], log_prob, 0.0)


def _mean_over_rows(site: Mapping[str, Any], log_prob: Tensor | None, batch: Batch) -> Tensor:
    """The plate-scaled, masked sum divided by N, as Pyro's own ELBO counts it; of ln p where `log_prob` is None."""
    if log_prob is None:
        log_prob = _log_density(site)
    return _masked(site, log_prob).sum() * (site["scale"] / batch.size)
