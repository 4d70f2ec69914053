"""Objectives: a model/guide pair on a batch → terms. Every touch of a Pyro trace is here and in `query`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch.distributions import kl_divergence

from ..core.batch import Batch
from ..core.terms import Terms, Weight
from .traces import Traces, _log_density, _masked, _mean_over_rows, _scored, trace

if TYPE_CHECKING:
    from ..core.program import Program


def nll(traces: Traces, weights: Mapping[str, Weight] = {}, *, cross: Mapping[str, Weight] | None = None) -> Terms:
    """−ln p(x_m | ...) of every scored site as `nll.NAME`, in nats.

    Args:
        weights: name → weight; 1 where not named.
        cross: name → weight of what is scored without having been seen, which then is a term of its own, `cross.NAME`
            (not of names that no guide sees). None: all that is scored is in `nll.NAME`.
    """
    terms, batch = Terms(), traces.batch
    for name, site in _scored(traces).items():
        log_p = _log_density(site)
        weight = weights.get(name, 1.0)
        if cross is None or name not in batch.encoded:
            terms[f"nll.{name}"] = (-_mean_over_rows(site, log_p, batch), weight)
            continue
        seen = batch.sees(name)
        for kind, rows, share in (("nll", seen, weight), ("cross", ~seen, cross.get(name, 1.0))):
            terms[f"{kind}.{name}"] = (-_mean_over_rows(site, torch.where(rows, log_p, 0.0), batch), share)
    return terms


def kl(traces: Traces, beta: Weight = 1.0, *, subsets: Mapping[str, Sequence[str]] = {}) -> Terms:
    """KL(guide ‖ model) of every latent site as `kl.NAME`, in nats: closed form where one is registered with
    `torch.distributions.register_kl`, else the one-draw estimate ln q − ln p.

    Args:
        subsets: latent → names for the subsets that are examined; then each has a term of its own, `kl.NAME.SUBSET`.
    """
    terms = Terms()
    for name in traces.latents():
        q, p = traces.guide.nodes[name], traces.model.nodes[name]
        try:
            divergence = kl_divergence(q["fn"], p["fn"])
        except NotImplementedError:
            divergence = q["fn"].log_prob(q["value"]) - p["fn"].log_prob(q["value"])
        if name in subsets:
            of_each = _masked(p, divergence).sum(-1) * (p["scale"] / traces.batch.size)
            terms |= Terms({f"kl.{name}.{subset}": (value, beta) for subset, value in zip(subsets[name], of_each)})
        else:
            terms[f"kl.{name}"] = (_mean_over_rows(p, divergence, traces.batch), beta)
    return terms


def elbo(program: Program, batch: Batch, *, beta: Weight = 1.0, weights: Mapping[str, Weight] = {}) -> Terms:
    """The negative evidence lower bound, Σ nll + β Σ kl, one draw, summed over the active subsets of each row."""
    traces = trace(program, batch)
    return nll(traces, weights) | kl(traces, beta)
