"""Linear decoders and classifiers fitted to posteriors of the latent, for likelihoods that have no closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from ..core.batch import Batch
from ..modalities.modality import Modality

ITERATIONS = 100
MOST_FOR_ALL = 4  # modalities, of which every set is shown
ROOM = 2**25  # numbers of the decoder's output for all draws at once


def whole_batch(batches: Iterable[Batch]) -> Batch:
    """Join batches of the same data set into one.

    Args:
        batches: with the same names, none under subsets.

    Returns:
        One batch of all their rows.

    Example:
        >>> import mmppl
        >>> data = mmppl.read("digits-three")
        >>> parts = [data.batch(torch.arange(at, at + 5), ("image",)) for at in (0, 5)]
        >>> len(whole_batch(parts))
        10
    """
    parts = list(batches)
    values = {name: torch.cat([part.values[name] for part in parts]) for name in parts[0].values}
    observed = {name: torch.cat([part.observed[name] for part in parts]) for name in parts[0].observed}
    present = {name: torch.cat([part.present[name] for part in parts]) for name in parts[0].present}
    index = torch.cat([part.index for part in parts])
    return Batch(values, observed, index, len(index), parts[0].encoded, present=present)


def shown_sets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The sets that a head learns from: all names, each alone, and all but one; of at most four names every set.

    Args:
        names: names of the modalities.

    Returns:
        The sets.

    Example:
        >>> shown_sets(["a", "b", "c"])
        [('a', 'b', 'c'), ('a',), ('b',), ('c',), ('b', 'c'), ('a', 'c'), ('a', 'b')]
    """
    every = tuple(names)
    pairs = list(combinations(every, 2)) if len(every) == MOST_FOR_ALL else []
    sets = [every, *((name,) for name in every), *(tuple(n for n in every if n != name) for name in every), *pairs]
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

    Example:
        >>> z = torch.linspace(-2, 2, 40).reshape(1, 40, 1)
        >>> y = Modality("y", (), "categorical", role="label", classes=("no", "yes"))
        >>> values, observed = {"y": (z[0, :, 0] > 0).long()}, {"y": torch.ones(40, dtype=torch.bool)}
        >>> rows = Batch(values | {"x": z[0]}, observed | {"x": observed["y"]}, torch.arange(40), 40, ("x",))
        >>> head = nn.Linear(1, 2)
        >>> fit_head(y, head, [], rows, {("x",): z}, ridge=0.1)
        >>> y.family(y, head(z[0])).probs[-1].round(decimals=1)
        tensor([0., 1.], grad_fn=<RoundBackward1>)
    """
    observed = batch.observed[modality.name]
    if not observed.any():
        return
    own = observed.nonzero().squeeze(-1)
    target, there = batch.values[modality.name][own], batch.present.get(modality.name)
    there = None if there is None else there[own]
    shown = {given: torch.stack([batch.observed[n] for n in given]).any(0)[own] for given in draws}
    count = torch.stack(list(shown.values())).sum(0).clamp_min(1)  # sets of each row
    total = sum(len(z) for z in draws.values()) * len(own) * head.out_features
    thin = max(1, math.ceil(total / ROOM))
    parts = []
    for given, z in draws.items():
        rows = shown[given].nonzero().squeeze(-1)
        if len(rows):
            kept = z[: max(1, len(z) // thin)]
            known = None if there is None else there[rows]
            parts.append((kept[:, own[rows]].double(), target[rows], known, 1 / count[rows].double()))
    weight, bias = (p.detach().double().clone().requires_grad_() for p in (head.weight, head.bias))
    moving = [weight, bias, *learned]

    def loss() -> Tensor:
        total = ridge / 2 * weight.square().sum()
        for z, x, known, share in parts:
            made = modality.family(modality, z @ weight.T + bias)
            log_p = (made if known is None else made.of_elements(known)).log_prob(x)
            joint = torch.logsumexp(log_p, 0) - math.log(len(z)) if modality.role == "label" else log_p.mean(0)
            total = total - joint @ share
        return total

    _minimise(moving, loss)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)


def set_features(z: Tensor, seen: Tensor) -> Tensor:
    """What a classifier is linear in: z, z/√M' once for each of the M' modalities that are seen, and which ones are.

    So its weights are V + Σ_{m seen} V_m/√M': of their own for each modality alone and for all, and for other sets in
    between.

    Args:
        z: (..., B, D) posterior means.
        seen: (..., B, M) bool.

    Returns:
        (..., B, (M + 1) D + M).

    Example:
        >>> set_features(torch.tensor([[3.0]]), torch.tensor([[True, False]]))
        tensor([[3., 3., 0., 1., 0.]])
    """
    shown = seen.to(z.dtype)
    share = shown / shown.sum(-1, keepdim=True).clamp_min(1).sqrt()
    of_each = (share.unsqueeze(-1) * z.unsqueeze(-2)).flatten(-2)
    return torch.cat([z, of_each, shown], -1)


def fit_classifier(
    label: Modality,
    classifier: nn.Linear,
    batch: Batch,
    means: Mapping[tuple[str, ...], tuple[Tensor, Tensor]],
    gram: Tensor,
    ridge: float,
) -> None:
    """Set a classifier on posterior means to the least Σ_S Σ_i −ln p(y_i | set_features) + ridge/2 ‖V‖², in place.

    ‖V‖ is that of weights of W z, what the posterior means say of the features: so a direction of z counts as much as
    the features vary with it, and the penalty is that of a logistic regression on imputed features.

    Args:
        label: the label, which has classes.
        classifier: from `set_features` to the label's output.
        batch: B rows.
        means: given set → posterior means (B, D) and what of the modalities is seen (B, M). Rows of which nothing is
            seen do not count.
        gram: (D, D) Wᵀ W, for features of variance 1.
        ridge: penalty, in nats of all rows and sets.

    Example:
        >>> z = torch.linspace(-2, 2, 40).reshape(40, 1)
        >>> y = Modality("y", (), "categorical", role="label", classes=("no", "yes"))
        >>> every = torch.ones(40, dtype=torch.bool)
        >>> rows = Batch({"y": (z[:, 0] > 0).long()}, {"y": every}, torch.arange(40), 40, ())
        >>> classifier = nn.Linear(3, 2)
        >>> fit_classifier(y, classifier, rows, {("x",): (z, every[:, None])}, torch.eye(1), ridge=0.1)
        >>> y.family(y, classifier(set_features(z[-1:], every[:1, None]))).probs.argmax(-1)
        tensor([1])
    """
    observed = batch.observed[label.name]
    values, vectors = torch.linalg.eigh(gram.double())
    root = (vectors * values.clamp_min(0.0).sqrt()) @ vectors.T
    inputs, patterns = [], []
    for z, seen in means.values():
        rows = (observed & seen.any(-1)).nonzero().squeeze(-1)
        inputs.append(set_features(z[rows].double() @ root, seen[rows]))
        patterns.append(torch.cat([rows.unsqueeze(-1), seen[rows].long()], -1))
    given, pattern = torch.cat(inputs), torch.cat(patterns)
    if not len(given):
        return
    target, there = batch.values[label.name][pattern[:, 0]], batch.present.get(label.name)
    there = None if there is None else there[pattern[:, 0]]
    _, same, counts = torch.unique(pattern, dim=0, return_inverse=True, return_counts=True)
    share = 1 / counts[same].double()  # sets that show the same of a row count once
    weight = torch.zeros_like(classifier.weight, dtype=torch.float64).requires_grad_()
    bias = torch.zeros_like(classifier.bias, dtype=torch.float64).requires_grad_()

    def loss() -> Tensor:
        made = label.family(label, given @ weight.T + bias)
        log_p = (made if there is None else made.of_elements(there)).log_prob(target)
        return ridge / 2 * weight.square().sum() - log_p @ share

    _minimise([weight, bias], loss)
    size = len(gram)
    blocks = weight.detach()[:, : -seen.shape[-1]].unflatten(-1, (-1, size)) @ root
    with torch.no_grad():
        classifier.weight.copy_(torch.cat([blocks.flatten(-2), weight[:, -seen.shape[-1] :]], -1))
        classifier.bias.copy_(bias)


def _minimise(parameters: Sequence[Tensor], loss: Callable[[], Tensor]) -> None:
    """L-BFGS, in place."""
    search = torch.optim.LBFGS(
        list(parameters), max_iter=ITERATIONS, tolerance_grad=1e-5, tolerance_change=1e-8, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        search.zero_grad()
        value = loss()
        value.backward()
        return value

    with torch.enable_grad():
        search.step(closure)
    search.zero_grad()
