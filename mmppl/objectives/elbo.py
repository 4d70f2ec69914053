"""Objectives: a model/guide pair on a batch → terms. Every touch of a Pyro trace is here and in `query`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.infer import ELBO
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import kl_divergence

from ..core.batch import Batch
from ..core.terms import Terms, Weight
from ..distributions.gaussian import full_precision
from ..errors import UsageError
from .importance import Bound, log_mean

if TYPE_CHECKING:
    from ..core.program import Program


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


def trace(program: Program, batch: Batch, guide: Callable[[Batch], None] | None = None) -> Traces:
    """Run the guide (the program's own, unless another is named), then the model on the guide's draws."""
    drawn = poutine.trace(program.guide if guide is None else guide).get_trace(batch)
    model = poutine.trace(poutine.replay(program.model, trace=drawn)).get_trace(batch)
    return Traces(model, drawn, batch)


def terms_of(program: Program, batch: Batch) -> Terms:
    """What the program's objective makes of a batch; a plain dict is as good as Terms.

    Raises: UsageError for anything but scalars with their weights, by name.
    """
    found: Any = program.objective(batch)
    if isinstance(found, Mapping) and found:
        wrong = [name for name, pair in found.items() if not _is_term(pair)]
        if not wrong:
            return found if isinstance(found, Terms) else Terms(found)
        what = f"a dict whose {wrong[0]!r} is no such pair"
    else:
        what = "an empty dict" if isinstance(found, Mapping) else f"a {type(found).__name__}"
    raise UsageError(
        f"{type(program).__name__}.objective returned {what}; expected Terms, or a dict of "
        "name: (scalar tensor, weight)."
    )


def _is_term(pair: Any) -> bool:
    """A scalar tensor and its weight."""
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], Tensor) and pair[0].ndim == 0


def is_random(site: Mapping[str, Any]) -> bool:
    """True for a sample site that is a random variable, not a plate's subsample."""
    return site["type"] == "sample" and not pyro.poutine.util.site_is_subsample(site)


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


class Stratify(Messenger):
    """Inside, a latent whose distribution is a mixture is drawn `draws` times from each of its S components.

    Keeps the subsets of the modalities that stand behind the draws, (draws · S, M), and which are a row's own, one bool
    for each and row.
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
    """Minus a bound for a guide that is a mixture, from K draws z of each component that is a row's own, stratified.

    With ln w = Σ_m weight_m ln p(x_m | z) + β (ln p(z) − ln q(z)), q the mixture's density, the "elbo" is a row's mean
    of ln w, as terms `nll.NAME` and `kl.NAME`, each a mean over the row's strata and draws. "looser" and "iwae" average
    weights first (`log_mean`): one term `bound`, the others are logged with weight 0.

    Args:
        kind: which bound.
        draws: K, per component.
        beta: weight of ln q(z) − ln p(z).
        weights: of the likelihoods by name; 1 where not named.
        dreg: the doubly reparametrised gradient: q's parameters inside ln q get none, and what reaches a draw is
            multiplied by its normalised weight w̃ (1 in the ELBO), with a β by 1 − β + β w̃ (the score of q, whose
            weight is β, reparametrised as in the source). Unbiased for a row of one component; for more it is what the
            authors use, and disregards that a draw comes from one component and is weighed by the mixture.
    Source: Shi et al. 2019, arXiv:1911.03393; Tucker et al. 2019, arXiv:1810.04152 (β = 1).
    """
    strata = Stratify(draws)
    with strata:
        guide = poutine.trace(program.guide).get_trace(batch)
    batch = batch.under(strata.strata)
    active: Any = strata.own & batch.active  # type: ignore[operator]  # `under` asks what is there, not what was seen
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
        if traces.value(name).requires_grad:  # not in an evaluation
            traces.value(name).register_hook(lambda slope: slope * by_weight)
    return Terms(bound=(-bound.mean(), 1.0)) | {name: (value.detach(), 0.0) for name, (value, _) in terms.items()}


def _log_density(site: Mapping[str, Any]) -> Tensor:
    """log p of what was observed; where the likelihood knows how, masked rows are left out of the computation."""
    if getattr(site["fn"], "masks", False) and isinstance(site["mask"], Tensor):
        return site["fn"].log_prob(site["value"], mask=site["mask"])
    return site["fn"].log_prob(site["value"])


def _scored(traces: Traces) -> dict[str, Any]:
    """The model's observed sites by name."""
    return {n: s for n, s in traces.model.nodes.items() if is_random(s) and s["is_observed"]}


def _masked(site: Mapping[str, Any], log_prob: Tensor) -> Tensor:
    """0 where the site does not count; float32, though a program's own distributions are in bfloat16 under autocast."""
    log_prob = full_precision(log_prob)
    return log_prob if site["mask"] is None else torch.where(site["mask"], log_prob, 0.0)


def _mean_over_rows(site: Mapping[str, Any], log_prob: Tensor, batch: Batch) -> Tensor:
    """The plate-scaled, masked sum divided by N, as Pyro's own ELBO counts it."""
    return _masked(site, log_prob).sum() * (site["scale"] / batch.size)


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
        return batch.size * terms_of(self.program, batch).loss

    def loss(self, model: Any, guide: Any, batch: Batch) -> float:
        with torch.no_grad():
            return self.differentiable_loss(model, guide, batch).item()

    def loss_and_grads(self, model: Any, guide: Any, batch: Batch) -> float:
        loss = self.differentiable_loss(model, guide, batch)
        loss.backward()
        return loss.item()
