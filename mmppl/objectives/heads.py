"""Linear decoders fitted to draws of the latent, for likelihoods that have no closed form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..core.batch import Batch
from ..modalities.modality import Modality

ITERATIONS = 200
ROOM = 2**25  # numbers of the decoder's output for all draws at once


def whole_batch(batches: Iterable[Batch]) -> Batch:
    """Join batches of the same data set into one.

    Args:
        batches: with the same names, none under subsets.

    Returns:
        One batch of all their rows.
    """
    parts = list(batches)
    values = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
    observed = {name: torch.cat([part.observed[name] for part in parts]) for name in parts[0].observed}
    index = torch.cat([part.index for part in parts])
    return Batch(values, observed, index, len(index), parts[0].encoded)


def shown_sets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The conditioning sets that a head learns from: all names, each alone, and all but one, each set once.

    Args:
        names: names of the modalities.

    Returns:
        The sets.

    Example:
        >>> shown_sets(["a", "b", "c"])
        [('a', 'b', 'c'), ('a',), ('b',), ('c',), ('b', 'c'), ('a', 'c'), ('a', 'b')]
    """
    every = tuple(names)
    sets = [every, *((name,) for name in every), *(tuple(n for n in every if n != name) for name in every)]
    return [one for one in dict.fromkeys(sets) if one]


def fit_head(
    modality: Modality,
    head: nn.Linear,
    learned: Sequence[nn.Parameter],
    batch: Batch,
    draws: Mapping[tuple[str, ...], Tensor],
    ridge: float,
) -> None:
    """Set a linear decoder to the least penalised negative log-likelihood, by L-BFGS from where it is, in place.

    Minimises Σ_i mean_S nll_i(S) + ridge/2 ‖W‖² over the sets S of which row i has something. For a label, nll is
    −ln mean_k p(y | z_k), what a query answers; for a modality, the mean over draws, as in an ELBO.

    Args:
        modality: what is decoded.
        head: the decoder, from (D,) to the modality's output.
        learned: parameters of its likelihood, which are fitted with it.
        batch: B rows.
        draws: given set → (K, B, D) draws of z given it.
        ridge: penalty, in nats of all rows.
    """
    observed = batch.observed[modality.name]
    if not observed.any():
        return
    own = observed.nonzero().squeeze(-1)
    target = batch.values[modality.name][own]
    shown = {given: torch.stack([batch.observed[n] for n in given]).any(0)[own] for given in draws}
    count = torch.stack(list(shown.values())).sum(0).clamp_min(1)  # sets of each row
    total = sum(len(z) for z in draws.values()) * len(own) * head.out_features
    thin = max(1, math.ceil(total / ROOM))
    parts = []
    for given, z in draws.items():
        rows = shown[given].nonzero().squeeze(-1)
        if len(rows):
            kept = z[: max(1, len(z) // thin)]
            parts.append((kept[:, own[rows]].double(), target[rows], 1 / count[rows].double()))
    weight, bias = (p.detach().double().clone().requires_grad_() for p in (head.weight, head.bias))
    moving = [weight, bias, *learned]

    def loss() -> Tensor:
        total = ridge / 2 * weight.square().sum()
        for z, x, share in parts:
            log_p = modality.family(modality, z @ weight.T + bias).log_prob(x)
            joint = torch.logsumexp(log_p, 0) - math.log(len(z)) if modality.role == "label" else log_p.mean(0)
            total = total - joint @ share
        return total

    search = torch.optim.LBFGS(
        moving, max_iter=ITERATIONS, tolerance_grad=1e-4, tolerance_change=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        search.zero_grad()
        value = loss()
        value.backward()
        return value

    with torch.enable_grad():
        search.step(closure)
    search.zero_grad()
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
