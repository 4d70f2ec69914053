"""LMF (LFN): tensor fusion with a weight tensor of low rank, so that the tensor product is never formed.

    Z = Σ_r w_r ∘_m (W_m^(r)ᵀ [1; h_m]) + b,   W_m^(r) of (1 + width) × d,   ∘ the elementwise product

Source: Liu et al. 2018, "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", arXiv:1806.00064 (Eq.
7–9). Differs: Z has d numbers, not the one that is predicted; the embedding of a modality that a row lacks is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...errors import UsageError
from .embedding import EmbeddingNetwork
from .registry import fusion_network
from .unimodal import Embeddings, with_one


@fusion_network("lmf")
class LMF(EmbeddingNetwork):
    """Low-rank tensor fusion, of any number of modalities.

    Args:
        sizes: see `FusionNetwork`.
        text: see `FusionNetwork`; text is read by an LSTM, of the others the mean over time is read.
        text_hidden: the width of that LSTM.
        text_d: the width of the embedding of text.
        other_d: the width of the embedding of each other modality.
        rank: the number of summands.
        d: the width of Z.
        dropout: rate of the dropout in the embeddings.

    Raises:
        UsageError: the rank is below 1.

    Example:
        >>> LMF({"text": 5, "audio": 3}, rank=2, d=64).d
        64
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        text: str | None = None,
        text_hidden: int = 64,
        text_d: int = 32,
        other_d: int = 8,
        rank: int = 4,
        d: int = 32,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(sizes, d=d, text=text)
        if rank < 1:
            raise UsageError(f"LMF: a weight tensor of rank {rank}; the rank has to be at least 1.")
        self.embeddings = Embeddings(
            sizes, self.text, text_hidden=text_hidden, text_d=text_d, other_d=other_d, dropout=dropout
        )
        self.widths = self.embeddings.widths
        self.low_rank = nn.ParameterDict({name: torch.empty(rank, 1 + self.widths[name], d) for name in sizes})
        for factor in self.low_rank.values():
            nn.init.xavier_normal_(factor)
        self.weight = nn.Parameter(torch.randn(rank) / rank**0.5)
        self.bias = nn.Parameter(torch.zeros(d))

    def _fuse_embedded(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        product: Tensor | None = None
        embeddings = self.embeddings(features, steps)
        for name, h in embeddings.items():
            own = with_one(h) @ self.low_rank[name]  # (rank, B, d)
            product = own if product is None else product * own
        return torch.einsum("r,rbd->bd", self.weight, product) + self.bias, embeddings
