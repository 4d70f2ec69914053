"""The terms of an evidence lower bound, from the traces of a model and a guide on a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from ..core.batch import Batch
from ..core.terms import Terms, Weight
from .traces import Traces, _log_density, _masked, _mean_over_rows, _scored, trace

if TYPE_CHECKING:
    from ..core.program import Program


def nll(
    traces: Traces,
    weights: Mapping[str, Weight] = {},
    *,
    cross: Mapping[str, Weight] | None = None,
    share: Tensor | None = None,
) -> Terms:
    """−ln p(x_m | ...) of every scored site, in nats.

    Args:
        traces: what `trace` has returned.
        weights: name → weight; 1 for names that are absent.
        cross: name → weight of what is scored without having been seen, which then is a term of its own, `cross.NAME`
            (not for names that no guide sees). None: all that is scored is in `nll.NAME`.
        share: (B,) or (S, B), how much each row counts (under each subset); None: 1.

    Returns:
        The terms `nll.NAME`, and `cross.NAME`, each a mean over rows of −ln p times what they count.

    Example:
        >>> import torch
        >>> from mmppl import Batch, Modality, load_program
        >>> program = load_program("mvae")([Modality("x", (3,), "normal")])
        >>> x, everywhere = {"x": torch.zeros(5, 3)}, {"x": torch.ones(5, dtype=torch.bool)}
        >>> batch = Batch(x, everywhere, index=torch.arange(5), size=5, encoded=program.encoded)
        >>> list(nll(trace(program, batch), {"x": 2.0}))
        ['nll.x']
    """
    terms, batch = Terms(), traces.batch
    for name, site in _scored(traces).items():
        weight = weights.get(name, 1.0)
        log_p = None if share is None else share * _masked(site, _log_density(site))
        if cross is None or name not in batch.encoded:
            terms[f"nll.{name}"] = (-_mean_over_rows(site, log_p, batch), weight)
            continue
        log_p, seen = _log_density(site) if log_p is None else log_p, batch.sees(name)
        for kind, rows, of_kind in (("nll", seen, weight), ("cross", ~seen, cross.get(name, 1.0))):
            terms[f"{kind}.{name}"] = (-_mean_over_rows(site, torch.where(rows, log_p, 0.0), batch), of_kind)
    return terms


def kl(traces: Traces, beta: Weight = 1.0, *, subsets: Mapping[str, Sequence[str]] = {}) -> Terms:
    """KL(guide ‖ model) of every latent site, in nats.

    It is computed in closed form where one is registered with `torch.distributions.register_kl`; else it is the
    one-draw estimate ln q − ln p.

    Args:
        traces: what `trace` has returned.
        beta: weight of the terms.
        subsets: latent → names for the subsets that are examined; each then has a term of its own, `kl.NAME.SUBSET`.

    Returns:
        The terms `kl.NAME`, or `kl.NAME.SUBSET`.

    Example:
        >>> import torch
        >>> from mmppl import Batch, Modality, load_program
        >>> program = load_program("mvae")([Modality("x", (3,), "normal")])
        >>> x, nowhere = {"x": torch.zeros(5, 3)}, {"x": torch.zeros(5, dtype=torch.bool)}
        >>> batch = Batch(x, nowhere, index=torch.arange(5), size=5, encoded=program.encoded)
        >>> terms = kl(trace(program, batch), beta=0.5)
        >>> terms["kl.z"][0].item(), terms["kl.z"][1]  # nothing is seen, so the guide is the prior
        (0.0, 0.5)
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
    """The negative evidence lower bound, Σ nll + β Σ kl, from one draw, summed over the active subsets of each row.

    Args:
        program: the program.
        batch: the batch.
        beta: weight of the KLs.
        weights: name → weight of its log-likelihood; 1 for names that are absent.

    Returns:
        The terms `nll.NAME` and `kl.NAME`, in nats.

    Example:
        >>> import torch
        >>> from mmppl import Batch, Modality, load_program
        >>> program = load_program("mvae")([Modality("x", (3,), "normal"), Modality("y", (2,), "normal")])
        >>> values = {"x": torch.zeros(5, 3), "y": torch.zeros(5, 2)}
        >>> everywhere = {name: torch.ones(5, dtype=torch.bool) for name in values}
        >>> batch = Batch(values, everywhere, index=torch.arange(5), size=5, encoded=program.encoded)
        >>> terms = elbo(program, batch, beta=0.5)
        >>> list(terms), terms.loss.ndim
        (['nll.x', 'nll.y', 'kl.z'], 0)
    """
    traces = trace(program, batch)
    return nll(traces, weights) | kl(traces, beta)
