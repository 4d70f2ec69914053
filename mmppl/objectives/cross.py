"""The likelihood of what a guide has not seen, which teaches its experts without spoiling the model's noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn
from torch.func import functional_call

from ..core.batch import Batch
from ..core.program import Program
from ..core.terms import Terms, Weight
from ..modalities.modality import Modality
from .traces import Traces, _mean_over_rows, _scored

NOISE = "program.likelihood_parameters."
ACTIVE = 0.01  # mean square of the posterior's mean of a dimension, below which it tells the decoders nothing


def cross_likelihood(
    program: Program,
    traces: Traces,
    batch: Batch,
    weights: Mapping[str, Weight] = {},
    *,
    spread: float | Tensor = 1.0,
    seen: Terms | None = None,
) -> Terms:
    """−ln p(x_m | z̃_S) of what a subset S has not seen, with z̃_S = μ_S + s sg(σ_S) ε.

    The means of the experts and the decoders learn from it; learned noise does not, or the model would book the error
    of predicting one modality from another as noise of the observations, and the posterior's variances do not, or every
    subset would claim the precision of all. In a linear-Gaussian model E[x_m | μ_S] = W_m μ_S + b_m, so with s = 0 the
    exact model and the exact means are its optimum; with s = 1 decoders shrink towards what can be predicted, which
    makes them use a code that modalities share.

    Args:
        program: the program.
        traces: traces under the same subsets, whose guide's latents are Gaussian.
        batch: the rows under those subsets, scored where they are "unseen".
        weights: name → weight of its log-likelihood; 1 for names that are absent.
        spread: s, the share of the posterior's standard deviations with which z̃ is drawn, in the active dimensions.
        seen: the terms `nll.NAME` of the same traces. With them the value of a density is a + h ln(1 + e / h), where a
            are the nats of a row that the model has seen, e the nats by which it is less likely where it has not (a + e
            where e < 0), and h = d/2 the nats of the residuals of d features whose noise is right. Of a Normal, h + e
            are the squared residuals over twice the variance, so this is what the noise of the prediction itself
            would leave: it neither rises nor teaches ever more as the noise of the observations gets small.

    Returns:
        The terms `cross.NAME`, in nats.

    Example:
        >>> from mmppl import Modality, all_subsets, load_program, trace
        >>> program = load_program("mvae")([Modality("x", (3,), "normal"), Modality("y", (2,), "normal")])
        >>> values = {"x": torch.zeros(5, 3), "y": torch.zeros(5, 2)}
        >>> everywhere = {name: torch.ones(5, dtype=torch.bool) for name in values}
        >>> batch = Batch(values, everywhere, index=torch.arange(5), size=5, encoded=program.encoded)
        >>> traces = trace(program, batch.under(all_subsets(2), "seen"))
        >>> list(cross_likelihood(program, traces, batch.under(all_subsets(2), "unseen")))
        ['cross.x', 'cross.y']
    """
    latents: dict[str, Tensor] = {}
    for name in traces.latents():
        q = traces.guide.nodes[name]["fn"]
        latents[name] = q.loc + _spread(q.loc, spread) * torch.exp(0.5 * q.log_var.detach()) * torch.randn_like(q.loc)
    # As other tensors than those of the ELBO: autocast casts a parameter once for both, but a recorded step twice.
    held = {
        n: p.detach() if n.startswith(NOISE) else p.view_as(p) for n, p in program.named_parameters(prefix="program")
    }
    batch = batch.wanting((), scored=batch.encoded)
    found = functional_call(_Model(program), held, (traces.guide, batch, latents))
    for name, value in found.items():
        m = program.modality(name)
        if seen is not None and m.family.density:
            number = _number(batch, name)  # 0 leaves nothing of the term
            before = seen[f"nll.{name}"][0].detach() * len(batch) / _number(traces.batch, name).clamp_min(1)
            excess, half = value * len(batch) / number.clamp_min(1) - before, 0.5 * _features(batch, m)
            grown = torch.where(excess > 0, half * torch.log1p(excess.clamp_min(0.0) / half), excess)
            found[name] = number / len(batch) * (before + grown)
    return Terms({f"cross.{name}": (value, weights.get(name, 1.0)) for name, value in found.items()})


def _spread(loc: Tensor, spread: float | Tensor) -> Tensor:
    """(D,) the share of the standard deviations with which each dimension is drawn, from means (..., D)."""
    active = loc.detach().square().flatten(0, -2).mean(0) >= ACTIVE
    return torch.where(active, torch.as_tensor(spread, dtype=loc.dtype, device=loc.device), 1.0)


def _number(batch: Batch, name: str) -> Tensor:
    """How often a modality is scored, over rows and subsets."""
    scored = batch.scored[name] if batch.active is None else batch.scored[name] & batch.active
    return scored.sum()


def _features(batch: Batch, m: Modality) -> Tensor | float:
    """How many features a row that is scored has, on average."""
    if not m.gaps:
        return float(m.size)
    scored = batch.scored[m.name] if batch.active is None else batch.scored[m.name] & batch.active
    weight = scored.reshape(-1, len(batch)).sum(0).to(torch.get_default_dtype())
    present = batch.present.get(m.name, torch.ones_like(batch.values[m.name], dtype=torch.bool))
    return (weight * present.flatten(1).sum(1)).sum() / weight.sum().clamp_min(1)


class _Model(nn.Module):
    """Mean −ln p of what a program's model scores at given latents, as a module call, for `functional_call`: densities
    read the learned noise, so they have to be computed within it.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def forward(self, guide: Any, batch: Batch, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        model = poutine.condition(self.program.model, data=latents)
        traces = Traces(poutine.trace(model).get_trace(batch), guide, batch)
        scored = {name: site for name, site in _scored(traces).items() if name not in latents}
        return {name: -_mean_over_rows(site, None, batch) for name, site in scored.items()}
