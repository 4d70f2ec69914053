"""Objectives: a model/guide pair on a batch → terms. Every touch of a Pyro trace is here and in `query`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.infer import ELBO
from torch import Tensor
from torch.distributions import kl_divergence

from .batch import Batch
from .gaussian import full_precision
from .terms import Terms, Weight

if TYPE_CHECKING:
    from .program import Program


class Traces(NamedTuple):
    """One run of the guide and of the model replayed on its draws."""

    model: Any
    guide: Any
    batch: Batch

    def latents(self) -> list[str]:
        """Names of the latent sites of the guide."""
        nodes = self.guide.nodes.items()
        return [name for name, site in nodes if is_random(site) and not site["is_observed"]]

    def value(self, name: str) -> Tensor:
        """The guide's draw at a latent site."""
        return self.guide.nodes[name]["value"]


def trace(program: Program, batch: Batch) -> Traces:
    """Run the guide, then the model on the guide's draws."""
    guide = poutine.trace(program.guide).get_trace(batch)
    model = poutine.trace(poutine.replay(program.model, trace=guide)).get_trace(batch)
    return Traces(model, guide, batch)


def is_random(site: Mapping[str, Any]) -> bool:
    """True for a sample site that is a random variable, not a plate's subsample."""
    return site["type"] == "sample" and not pyro.poutine.util.site_is_subsample(site)


def nll(traces: Traces, weights: Mapping[str, Weight] = {}) -> Terms:
    """−ln p(x_m | ...) of every scored site as `nll.NAME`, in nats.

    Args:
        weights: name → weight; 1 where not named.
    """
    sites = {n: s for n, s in traces.model.nodes.items() if is_random(s) and s["is_observed"]}
    return Terms(
        {
            f"nll.{name}": (
                -_mean_over_rows(site, _log_density(site), traces.batch),
                weights.get(name, 1.0),
            )
            for name, site in sites.items()
        }
    )


def kl(traces: Traces, beta: Weight = 1.0) -> Terms:
    """KL(guide ‖ model) of every latent site as `kl.NAME`, in nats: closed form where one is registered with
    `torch.distributions.register_kl`, else the one-draw estimate ln q − ln p."""
    terms = Terms()
    for name in traces.latents():
        q, p = traces.guide.nodes[name], traces.model.nodes[name]
        try:
            divergence = kl_divergence(q["fn"], p["fn"])
        except NotImplementedError:
            divergence = q["fn"].log_prob(q["value"]) - p["fn"].log_prob(q["value"])
        terms[f"kl.{name}"] = (_mean_over_rows(p, divergence, traces.batch), beta)
    return terms


def elbo(program: Program, batch: Batch, *, beta: Weight = 1.0, weights: Mapping[str, Weight] = {}) -> Terms:
    """The negative evidence lower bound, Σ nll + β Σ kl, one draw, summed over the active subsets of each row."""
    traces = trace(program, batch)
    return nll(traces, weights) | kl(traces, beta)


def _log_density(site: Mapping[str, Any]) -> Tensor:
    """log p of what was observed; where the likelihood knows how, masked rows are left out of the computation."""
    if getattr(site["fn"], "masks", False) and isinstance(site["mask"], Tensor):
        return site["fn"].log_prob(site["value"], mask=site["mask"])
    return site["fn"].log_prob(site["value"])


def _mean_over_rows(site: Mapping[str, Any], log_prob: Tensor, batch: Batch) -> Tensor:
    """The plate-scaled, masked sum divided by N, as Pyro's own ELBO counts it."""
    log_prob = full_precision(log_prob)  # a program's own distributions may be in bfloat16 under autocast
    if site["mask"] is not None:
        log_prob = torch.where(site["mask"], log_prob, 0.0)
    return log_prob.sum() * (site["scale"] / batch.size)


class ObjectiveELBO(ELBO):
    """A program's objective for `pyro.infer.SVI(p.model, p.guide, optim, loss=ObjectiveELBO(p))`.

    The loss is N × Σ weight·value (SVI's scale). The parameters are registered in Pyro's store, as SVI needs:
    a bare module under `SVI.step` trains nothing.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        traces = trace(self.program, *args, **kwargs)
        return traces.model, traces.guide

    def differentiable_loss(self, model: Any, guide: Any, batch: Batch) -> Tensor:
        pyro.module(type(self.program).__name__, self.program)
        return batch.size * self.program.objective(batch).loss

    def loss(self, model: Any, guide: Any, batch: Batch) -> float:
        with torch.no_grad():
            return self.differentiable_loss(model, guide, batch).item()

    def loss_and_grads(self, model: Any, guide: Any, batch: Batch) -> float:
        loss = self.differentiable_loss(model, guide, batch)
        loss.backward()
        return loss.item()
