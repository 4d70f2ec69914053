"""Bounds on the evidence from importance weights, which differ in what is averaged before the logarithm is taken."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ..core.batch import Batch
from ..core.terms import Terms, Weight
from .traces import Traces, _log_density, _masked, _mean_over_rows, _scored, is_random

if TYPE_CHECKING:
    from ..core.program import Program

Bound = Literal["elbo", "iwae", "looser"]


def log_mean(log_weights: Tensor, active: Tensor, kind: Bound) -> tuple[Tensor, Tensor]:
    """A lower bound on ln p of each row from K weights in each of its n strata, in nats.

    Args:
        log_weights: (K, S, B), ln w.
        active: (S, B) bool, the strata that a row has.
        kind: "elbo", mean of ln w; "looser", mean over the strata of ln of the mean over K; "iwae", ln of the mean over
            all n·K. Each is at least the one before.

    Returns:
        (B,) bounds, 0 where a row has no stratum; and (K, S, B), each weight divided by the sum of those that it is
        averaged with.

    Source: Burda et al. 2016, arXiv:1509.00519; with strata, "looser" is the objective of Shi et al. 2019,
        arXiv:1911.03393, and "iwae" that of Morningstar et al. 2020, arXiv:2003.01687.
    """
    draws, own = len(log_weights), active.sum(0)
    if kind == "iwae":
        kept = torch.where(active | (own == 0), log_weights, -torch.inf)  # all −inf has no gradient
        total = torch.logsumexp(kept, (0, 1))
        return torch.where(own > 0, total - (draws * own.clamp_min(1)).log(), 0.0), (kept - total).exp()
    total = log_weights if kind == "elbo" else torch.logsumexp(log_weights, 0, keepdim=True)
    of_each = total.mean(0) if kind == "elbo" else total[0] - math.log(draws)
    return torch.where(active, of_each, 0.0).sum(0) / own.clamp_min(1), (log_weights - total).exp()


class Stratify(Messenger):
    """A Pyro handler in which a latent whose distribution is a mixture is drawn equally often from each of its S
    components.

    Args:
        draws: how often each component is drawn.

    Attributes:
        strata: (draws · S, M) bool, the subset of the modalities that each draw comes from.
        own: (draws · S, B) bool, the draws that come from a row's own components.
    """

    def __init__(self, draws: int) -> None:
        super().__init__()
        self.draws, self.strata, self.own = draws, torch.empty(0), torch.empty(0)

    def _pyro_sample(self, message: Any) -> None:
        if is_random(message) and not message["is_observed"] and message["value"] is None:
            mixture = message["fn"]
            self.strata = mixture.strata.repeat(self.draws, 1)
            self.own = mixture.active[: len(mixture.strata)].repeat(self.draws, 1)
            message["value"] = mixture.stratified(self.draws)


def stratified(
    program: Program,
    batch: Batch,
    kind: Bound,
    *,
    draws: int = 1,
    beta: Weight = 1.0,
    weights: Mapping[str, Weight] = {},
    dreg: bool = False,
) -> Terms:
    """Minus a bound for a guide that is a mixture, from K draws z of each component of a row: stratified sampling.

    With ln w = Σ_m weight_m ln p(x_m | z) + β (ln p(z) − ln q(z)), q the mixture's density, the "elbo" is a row's mean
    of ln w. "looser" and "iwae" average weights first (`log_mean`).

    Args:
        program: the program.
        batch: the batch.
        kind: which bound: "elbo", "looser" or "iwae".
        draws: K, per component.
        beta: weight of ln q(z) − ln p(z).
        weights: name → weight of its log-likelihood; 1 for names that are absent.
        dreg: whether the gradient is doubly reparametrised: q's parameters inside ln q get none, and what reaches a
            draw is multiplied by its normalised weight w̃ (1 in the ELBO), with a β by 1 − β + β w̃ (the score of q,
            whose weight is β, reparametrised as in the source). It is unbiased for a row of one component; for more it
            is what the authors use, and disregards that a draw comes from one component and is weighed by the mixture.

    Returns:
        For "elbo", the terms `nll.NAME` and `kl.NAME`, each a mean over a row's strata and draws, in nats; for the
        others the term `bound`, and those with weight 0 for the log.

    Source: Shi et al. 2019, arXiv:1911.03393; Tucker et al. 2019, arXiv:1810.04152 (β = 1).

    Example:
        >>> from mmppl import Modality, load_program
        >>> program = load_program("mmvae")([Modality("x", (3,), "normal"), Modality("y", (2,), "normal")])
        >>> values = {"x": torch.zeros(5, 3), "y": torch.zeros(5, 2)}
        >>> everywhere = {name: torch.ones(5, dtype=torch.bool) for name in values}
        >>> batch = Batch(values, everywhere, index=torch.arange(5), size=5, encoded=program.encoded)
        >>> terms = stratified(program, batch, "iwae", draws=3)
        >>> {name: weight for name, (value, weight) in terms.items()}
        {'bound': 1.0, 'nll.x': 0.0, 'nll.y': 0.0, 'kl.z': 0.0}
    """
    strata = Stratify(draws)
    with strata:
        guide = poutine.trace(program.guide).get_trace(batch)
    batch = batch.under(strata.strata)
    active: Any = strata.own & batch.active  # type: ignore[operator]  # `under` asks what is observed, not what is seen
    batch = dataclasses.replace(batch, active=active)
    traces = Traces(poutine.trace(poutine.replay(program.model, trace=guide)).get_trace(batch), guide, batch)
    share = active / active.sum(0).clamp_min(1)
    terms, log_weights = Terms(), torch.zeros_like(share)
    for name, site in _scored(traces).items():
        weight, log_p = weights.get(name, 1.0), _masked(site, _log_density(site))
        terms[f"nll.{name}"] = (-_mean_over_rows(site, share * log_p, batch), weight)
        log_weights = log_weights + weight * log_p
    for name in traces.latents():
        q, p = guide.nodes[name], traces.model.nodes[name]
        log_q = (q["fn"].detach() if dreg else q["fn"]).log_prob(q["value"])
        log_ratio = _masked(p, p["fn"].log_prob(q["value"]) - log_q)
        terms[f"kl.{name}"] = (-_mean_over_rows(p, share * log_ratio, batch), beta)
        log_weights = log_weights + beta * log_ratio
    if kind == "elbo":
        return terms
    bound, normalised = log_mean(log_weights.unflatten(0, (draws, -1)), active.unflatten(0, (draws, -1))[0], kind)
    by_weight = (1 - beta + beta * normalised.detach()).flatten(0, 1).unsqueeze(-1)
    for name in traces.latents() if dreg else ():
        if traces.value(name).requires_grad:  # there is no gradient in an evaluation
            traces.value(name).register_hook(lambda slope: slope * by_weight)
    return Terms(bound=(-bound.mean(), 1.0)) | {name: (value.detach(), 0.0) for name, (value, _) in terms.items()}
