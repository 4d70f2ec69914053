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
from .traces import Traces, _mean_over_rows, _scored


def cross_likelihood(
    program: Program,
    traces: Traces,
    batch: Batch,
    weights: Mapping[str, Weight] = {},
    *,
    thaw: float | Tensor = 0.0,
    seen: Terms | None = None,
) -> Terms:
    """−ln p(x_m | z̃_S) of what a subset S has not seen, with z̃_S = μ_S + sg(σ_S) ε.

    Only the means of the experts learn from it, whose best value in a linear-Gaussian model is E[z | x_S], the exact
    one. If decoders and learned noise followed it as well, they would book the error of predicting one modality from
    another as noise of the observations, and if the variances did, every subset would claim the precision of all.

    Args:
        program: the program.
        traces: traces under the same subsets, whose guide's latents are Gaussian.
        batch: the rows under those subsets, scored where they are "unseen".
        weights: name → weight of its log-likelihood; 1 for names that are absent.
        thaw: the share of their gradient that the model's parameters get, in [0, 1].
        seen: the terms `nll.NAME` of the same traces. With them the gradient of a density is that under the noise of
            what it is to learn, not under that of the observations: it is multiplied by h / (h + e), where h = d/2 nats
            are the residuals' share of a likelihood of d features whose noise is right, and e the nats of a row by
            which the unseen are less likely than the seen. (Of a Normal, h + e are the squared residuals over twice
            the variance.) Else a model whose noise gets small would have experts that learn nothing but this.

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
        latents[name] = q.loc + torch.exp(0.5 * q.log_var.detach()) * torch.randn_like(q.loc)
    thawed = {f"program.{n}": _ScaledGradient.apply(p, torch.as_tensor(thaw)) for n, p in program.named_parameters()}
    batch = batch.wanting((), scored=batch.encoded)
    found = functional_call(_Model(program), thawed, (traces.guide, batch, latents))
    for name, value in found.items():
        m = program.modality(name)
        if seen is not None and m.family.density:
            excess = _per_score(value, batch, name) - _per_score(seen[f"nll.{name}"][0], traces.batch, name)
            share = 0.5 * m.size / (0.5 * m.size + excess.clamp_min(0.0))
            found[name] = _ScaledGradient.apply(value, share)
    return Terms({f"cross.{name}": (value, weights.get(name, 1.0)) for name, value in found.items()})


def _per_score(value: Tensor, batch: Batch, name: str) -> Tensor:
    """A mean over rows of a sum over subsets as the mean over all that was scored, without a gradient."""
    scored = batch.scored[name] if batch.active is None else batch.scored[name] & batch.active
    return value.detach() * len(batch) / scored.sum().clamp_min(1)


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


class _ScaledGradient(torch.autograd.Function):
    """A tensor as it is, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, share: Tensor) -> Tensor:
        ctx.save_for_backward(share)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.saved_tensors[0], None
