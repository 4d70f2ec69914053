"""What is read off the codes of views once they are found: labels, and the outputs that decoders take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ...core.batch import Batch
from ...modalities.modality import Modality
from ..codes import pool_codes
from ..heads import fit_head, set_features, shown_sets

LEAST = 1e-9  # ridge of the least squares, relative to the mean square of a code


def pooled_sets(
    codes: Mapping[str, Tensor], observed: Mapping[str, Tensor]
) -> dict[tuple[str, ...], tuple[Tensor, Tensor]]:
    """Pool the codes of views over the sets that a reader learns from.

    Args:
        codes: view → (B, D), in the order of the flags.
        observed: view → (B,) bool.

    Returns:
        given set → (B, D) mean of the codes of what a row has of it, and (B, M) bool, what that is.

    Example:
        >>> codes = {"x": torch.tensor([[1.0]]), "y": torch.tensor([[3.0]])}
        >>> found = pooled_sets(codes, dict.fromkeys(codes, torch.tensor([True])))
        >>> {given: z.item() for given, (z, _) in found.items()}
        {('x', 'y'): 2.0, ('x',): 1.0, ('y',): 3.0}
    """
    stacked, seen = torch.stack(list(codes.values())), torch.stack([observed[name] for name in codes], -1)
    equal, found = stacked.new_zeros(stacked.shape[:2]), {}
    for given in shown_sets(list(codes)):
        shown = seen & torch.tensor([name in given for name in codes], device=seen.device)
        found[given] = pool_codes(stacked, equal, shown), shown
    return found


def fit_probe(
    label: Modality,
    probe: nn.Linear,
    learned: Sequence[nn.Parameter],
    batch: Batch,
    sets: Mapping[tuple[str, ...], tuple[Tensor, Tensor]],
    ridge: float,
) -> None:
    """Set a probe of a label to the least penalised negative log-likelihood given all sets of views, in place.

    Of classes it is multinomial logistic regression, of a number with normal noise ridge regression.

    Args:
        label: the label.
        probe: from `set_features` of codes to the label's output.
        learned: parameters of its likelihood, which are fitted with it.
        batch: B rows.
        sets: given set → codes and flags, as `pooled_sets` returns them.
        ridge: λ of the penalty λ/2 ‖V‖², in nats of all rows.

    Example:
        >>> z, every = torch.linspace(-2, 2, 40).reshape(40, 1), torch.ones(40, dtype=torch.bool)
        >>> y = Modality("y", (), "categorical", role="label", classes=("no", "yes"))
        >>> rows = Batch({"y": (z[:, 0] > 0).long()}, {"y": every, "x": every}, torch.arange(40), 40, ("x",))
        >>> probe = nn.Linear(3, 2)
        >>> fit_probe(y, probe, [], rows, {("x",): (z, every[:, None])}, ridge=1.0)
        >>> y.family(y, probe(set_features(z[-1:], every[:1, None]))).probs.argmax(-1)
        tensor([1])
    """
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.zero_()
    features = {given: set_features(z, shown).unsqueeze(0) for given, (z, shown) in sets.items()}
    fit_head(label, probe, learned, batch, features, ridge)


def fit_lift(
    lift: nn.Linear, outputs: Tensor, observed: Tensor, sets: Mapping[tuple[str, ...], tuple[Tensor, Tensor]]
) -> None:
    """Set an affine map from codes to the outputs of a view's network by least squares, in place.

    Args:
        lift: from (D,) to (d,).
        outputs: (B, d) of the view.
        observed: (B,) bool, the rows that have it.
        sets: as of `fit_probe`. Each counts equally in a row that has something of it.

    Example:
        >>> z, every = torch.tensor([[0.0], [1.0], [2.0]]), torch.ones(3, dtype=torch.bool)
        >>> lift = nn.Linear(1, 1)
        >>> fit_lift(lift, 2 * z + 1, every, {("x",): (z, every[:, None])})
        >>> lift(torch.tensor([5.0])).item()
        11.0
    """
    size = lift.in_features + 1
    gram, product = (
        torch.zeros(size, n, dtype=torch.float64, device=outputs.device) for n in (size, outputs.shape[-1])
    )
    for z, shown in sets.values():
        rows = observed & shown.any(-1)
        inputs = torch.cat([z[rows].double(), torch.ones(int(rows.sum()), 1, device=z.device).double()], -1)
        gram, product = gram + inputs.T @ inputs, product + inputs.T @ outputs[rows].double()
    ridge = LEAST * gram.diagonal()[:-1].mean().clamp_min(LEAST)
    gram.diagonal()[:-1].add_(ridge)
    found = torch.linalg.lstsq(gram, product).solution
    with torch.no_grad():
        lift.weight.copy_(found[:-1].T)
        lift.bias.copy_(found[-1])
