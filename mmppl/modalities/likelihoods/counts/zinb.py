"""Zero-inflated negative binomial likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from ....kernels.counts import zinb_log_density
from ...modality import Modality
from ..registry import likelihood
from .count import below_one
from .nb import NegativeBinomialLikelihood
from .quantiles import count_quantile


@likelihood("zinb")
class ZeroInflatedLikelihood(NegativeBinomialLikelihood):
    """Independent negative binomials with more zeros: a count is 0 with a probability π whatever its mean. The second
    half of the decoder's output are the logits of π. The scale is that of `nb`.

    Source: Lopez et al. 2018, Nature Methods 15 (scVI's likelihood).
    """

    @classmethod
    def output_size(cls, modality: Modality) -> int:
        return 2 * modality.size

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        x, output, of_total = self._scored(value)
        nats = zinb_log_density(x, output, self._log_inverse_dispersion(), mask, self._stretches())
        return self._with_total(nats, of_total, mask)

    def _share(self) -> Tensor:
        """(..., size) π."""
        return torch.sigmoid(self.output[..., self.modality.size :].double())

    def from_uniform(self, u: Tensor) -> Tensor:
        share = self._share()
        u = below_one(u).double()
        rest = ((u - share) / (1 - share).clamp_min(1e-300)).clamp(0.0, 1 - 2**-53)
        return self._counts(torch.where(u <= share, 0.0, count_quantile(rest, self._rate(), self._dispersion())))

    @property
    def mean(self) -> Tensor:
        return self._counts((1 - self._share()) * self._rate())

    @property
    def variance(self) -> Tensor:
        share, rate = self._share(), self._rate()
        return self._counts((1 - share) * (rate + rate.square() * (share + self._dispersion())))
