"""The total correlation of codes as a term of a loss: a critic, a bound, and what they keep between batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core.stages import Group
from ...core.terms import Terms
from ...errors import UsageError, suggest
from .bounds import BOUNDS, donsker_varadhan_averaged, moved_average
from .critic import Critic, Squash
from .lipschitz import PENALTY, Lipschitz, gradient_penalty

RATE = 0.01  # of a batch in the moving average of Donsker and Varadhan's denominator
LR = 1e-3  # of a critic


class TotalCorrelation(nn.Module):
    """A lower bound on KL(p(x₁, …, x_M) ‖ Π p(x_m)), which its critic and whatever makes the codes both raise.

    It is a part of a program: `terms` gives what its objective adds, and `Program.parameter_groups` finds the critic's
    group. The critic ascends the bound with weight 1 whatever the weight in the loss is; with weight 0 it is a sham:
    everything runs and nothing but the critic moves.

    Args:
        sizes: of the vectors that the critic sees: of one fused code, or of one code for each modality.
        method: "dv" (with the moving average), "nwj", "js", "chi2", "wasserstein", "infonce" or "smile"; see
            `mmppl.objectives.dependence.bounds` for what each of them bounds.
        name: of the term.
        weight: λ; the loss gets −λ · bound.
        lr: learning rate of the critic.
        steps: how often the critic moves per batch; see `Group`.
        flags: see `Critic`.
        width: of the critic's layers.
        layers: of the critic, before the last one.
        dropout: of the critic, in training.
        sigmoid: whether the critic's output lies in (0, 1).
        lipschitz: of the critic of "wasserstein": "spectral", "penalty" or "clip".
        squash: what the critic's inputs go through; None: "norm" for "wasserstein", whose value else grows with the
            codes, and "none" for the others, whose optimum does not change with the units of the codes.

    Raises:
        UsageError: an unknown method, or a number out of range.

    Example:
        >>> term = TotalCorrelation([2], method="nwj", name="tc.z", weight=0.1)
        >>> z, shuffled = torch.randn(2, 8, 2)
        >>> sorted(term.terms([z], [shuffled]))
        ['tc.z']
        >>> [group.name for group in term.parameter_groups()]
        ['critic of tc.z']
    """

    log_average: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        method: str = "dv",
        name: str = "tc",
        weight: float = 1.0,
        lr: float = LR,
        steps: int = 1,
        flags: int | None = None,
        width: int = 128,
        layers: int = 3,
        dropout: float = 0.0,
        sigmoid: bool = False,
        lipschitz: Lipschitz = "spectral",
        squash: Squash | None = None,
    ) -> None:
        super().__init__()
        if method not in BOUNDS:
            known = list(BOUNDS)
            raise UsageError(f"{name}: no method {method!r}; there are {', '.join(known)}.{suggest(method, known)}")
        if not (0 <= weight < math.inf and 0 < lr < math.inf):
            raise UsageError(
                f"{name}: weight {weight:g} and lr {lr:g}: expected a weight of at least 0, and lr above 0."
            )
        self.method, self.name, self.weight, self.lr, self.steps = method, name, weight, lr, steps
        dual = method == "wasserstein"
        self.penalised = dual and lipschitz == "penalty"
        own: dict[str, Any] = dict(width=width, layers=layers, dropout=dropout, sigmoid=sigmoid, flags=flags)
        own |= dict(lipschitz=lipschitz if dual else None, squash=squash or ("norm" if dual else "none"))
        try:
            self.critic = Critic(sizes, **own)
        except ValueError as error:
            raise UsageError(f"{name}: {str(error).removeprefix('Critic: ')}") from None
        self.register_buffer("log_average", torch.tensor(-math.inf))

    def forward(
        self, joint: Sequence[Tensor], product: Sequence[Tensor], present: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """The bound. In training "dv" moves its average, and has its gradient by it.

        Args:
            joint: the vectors of aligned rows, (B, size) each.
            product: those of rows whose modalities come from different rows, (B, size) each.
            present: (B, flags) bool, which modalities a row has, the same for both; None: all.
            rows: (B,) bool, those that count; None: all.

        Returns:
            A scalar; 0 where fewer than two rows count.
        """
        aligned, mixed = self.scores(joint, product, present)
        if self.method == "dv" and self.training:
            average = moved_average(self.log_average, mixed, RATE, rows)
            if rows is not None:
                average = torch.where(rows.any(), average, self.log_average)
            with torch.no_grad():
                self.log_average.copy_(average)
            found = donsker_varadhan_averaged(aligned, mixed, torch.where(average.isfinite(), average, 0.0), rows)
        else:
            found = BOUNDS[self.method](aligned, mixed, rows)
        return found if rows is None else torch.where(rows.sum() >= 2, found, 0.0)

    def scores(
        self, joint: Sequence[Tensor], product: Sequence[Tensor], present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the critic says: the higher, the more a row looks like an aligned one.

        Args:
            joint: as in `forward`.
            product: as in `forward`.
            present: as in `forward`.

        Returns:
            (B,) of the aligned rows, and of those of the product.
        """
        here = None if present is None else torch.cat([present, present])
        out = self.critic([torch.cat(pair) for pair in zip(joint, product)], here)
        return out[: len(joint[0])], out[len(joint[0]) :]

    def terms(
        self, joint: Sequence[Tensor], product: Sequence[Tensor], present: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Terms:  # fmt: skip
        """What the objective of a program adds: the bound with weight −λ, and the penalty on the critic's gradient,
        which weighs for the critic alone.

        Args:
            joint: as in `forward`.
            product: as in `forward`.
            present: as in `forward`.
            rows: as in `forward`.

        Returns:
            The terms.
        """
        found = Terms({self.name: (self(joint, product, present, rows), -self.weight)})
        if self.penalised:
            one, two = (self.critic.inputs(vectors, present) for vectors in (joint, product))
            share = torch.rand(len(one), 1, device=one.device, dtype=one.dtype)
            found[self._penalty] = (gradient_penalty(self.critic.of_inputs, one, two, share, rows), 0.0)
        return found

    def parameter_groups(self) -> Sequence[Group]:
        """The critic, for which the bound has weight −1: it descends −bound."""
        weights = {self.name: -1.0} | ({self._penalty: PENALTY} if self.penalised else {})
        own = dict(lr=self.lr, steps=self.steps, weights=weights)
        return [Group(f"critic of {self.name}", self.critic.parameters(), **own)]  # type: ignore[arg-type]

    @property
    def _penalty(self) -> str:
        return f"lipschitz.{self.name}"
