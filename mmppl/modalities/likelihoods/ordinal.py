"""Ordinal likelihood: classes that have an order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..array_facts import ArrayFacts, Claim
from ..modality import Modality
from .categorical import CategoricalLikelihood
from .noise import SPEED, bounded_log_scale
from .registry import likelihood


@likelihood("ordinal")
class OrdinalLikelihood(CategoricalLikelihood):
    """One class per row (or position), of K classes in the order of `modality.classes`: proportional odds.

    The decoder returns one score f per position, and ln P(y ≤ k) / P(y > k) = c_k − f for the K − 1 cut points c, which
    are learned in ascending order, for each position its own (the steps of a sequence share them). With f = 0 they
    begin where all classes are equally likely. Calibration tempers the probabilities: p^(1/T), normalised.

    Source: McCullagh 1980, "Regression models for ordinal data", JRSS B 42, eq. 2.3.

    Example:
        >>> stage = Modality("stage", (), "ordinal", classes=("I", "II", "III"))
        >>> stage.output_size, stage.family.parameters(stage)["cuts"].shape
        (1, torch.Size([1, 2]))
    """

    kind = "ranks"

    @classmethod
    def claims(cls, facts: ArrayFacts) -> Claim | None:
        """Claims nothing: no array says by itself that its classes have an order."""
        return None

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        return modality.size

    @classmethod
    def parameters(cls, modality: Modality) -> dict[str, Tensor]:
        """The first cut point, and the logs of the gaps to the others, over `SPEED` and as they differ from equally
        likely classes: (features of a step, K − 1).
        """
        return {"cuts": torch.zeros(modality.features_of_step, max(modality.n_classes - 1, 1))}

    @property
    def cuts(self) -> Tensor:
        """(size, K − 1) cut points, in ascending order."""
        raw, m = self.learned("cuts"), self.modality
        below = torch.arange(1, m.n_classes, dtype=raw.dtype, device=raw.device) / m.n_classes
        even = torch.logit(below)
        first = even[:1] + SPEED * raw[:, :1]
        gaps = even.diff() * bounded_log_scale(raw[:, 1:]).exp()
        cuts = torch.cat([first, first + gaps.cumsum(-1)], -1)
        return cuts.repeat(m.shape[0], 1) if m.sequence else cuts

    def _by_class(self, output: Tensor) -> Tensor:
        return cumulative_logit(output.to(self.dtype), self.cuts)


def cumulative_logit(score: Tensor, cuts: Tensor) -> Tensor:
    """ln P(y = k) of proportional odds, P(y ≤ k) = σ(c_k − f).

    With σ(b) − σ(a) = σ(b) σ(−a) (1 − e^(a − b)) nothing cancels, however far the score lies from the cut points.

    Args:
        score: (..., P) scores f.
        cuts: (P, K − 1) cut points c, in ascending order.

    Returns:
        (..., P, K) nats.

    Example:
        >>> cumulative_logit(torch.zeros(1), torch.zeros(1, 1)).exp()
        tensor([[0.5000, 0.5000]])
    """
    from_cut = cuts - score.unsqueeze(-1)
    upper = F.pad(F.logsigmoid(from_cut), (0, 1))  # below the highest class there is everything
    lower = F.pad(F.logsigmoid(-from_cut), (1, 0))
    between = F.pad(torch.log(-torch.expm1(-cuts.diff())), (1, 1))
    return upper + lower + between
