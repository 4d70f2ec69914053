"""TFN: the tensor product of the modalities' embeddings holds every product of one number from each.

    Z = MLP(flatten([1; h_l] ⊗ [1; h_a] ⊗ [1; h_v]))

Source: Zadeh et al. 2017, "Tensor Fusion Network for Multimodal Sentiment Analysis", arXiv:1707.07250. Differs: no
BatchNorm in front of the perceptrons (features are standardised where data are read, and no row may depend on another);
the embedding of a modality that a row lacks is 0, which leaves the products of the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from ...errors import UsageError
from ..mlp import Dropout, Linear
from .embedding import EmbeddingNetwork
from .registry import fusion_network
from .unimodal import Embeddings, with_one

MOST = 100_000  # numbers of one row's product


@fusion_network("tfn")
class TFN(EmbeddingNetwork):
    """Tensor fusion. The product grows with the power of the number of modalities; `LMF` has no such limit.

    Args:
        sizes: see `FusionNetwork`.
        text: see `FusionNetwork`; text is read by an LSTM, of the others the mean over time is read.
        text_hidden: the width of that LSTM.
        text_d: the width of the embedding of text.
        other_d: the width of the embedding of each other modality.
        d: the width of Z, and of the layer before it.
        dropout: rate of the dropout in the embeddings.
        fused_dropout: rate of the dropout on the product.

    Raises:
        UsageError: the product has more than 100,000 numbers per row.

    Example:
        >>> TFN({"text": 5, "audio": 3}, **TFN.presets["zadeh2017"]).d
        160
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "zadeh2017": dict(text_hidden=128, text_d=64, other_d=32, d=160, dropout=0.2, fused_dropout=0.2),
    }

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        text: str | None = None,
        text_hidden: int = 64,
        text_d: int = 32,
        other_d: int = 8,
        d: int = 32,
        dropout: float = 0.2,
        fused_dropout: float = 0.2,
    ) -> None:
        super().__init__(sizes, d=d, text=text)
        self.embeddings = Embeddings(
            sizes, self.text, text_hidden=text_hidden, text_d=text_d, other_d=other_d, dropout=dropout
        )
        self.widths = self.embeddings.widths
        product = math.prod(1 + width for width in self.widths.values())
        if product > MOST:
            raise UsageError(
                f"TFN: the product of {len(sizes)} modalities has {product:,} numbers per row, more than {MOST:,}; "
                "take smaller text_d and other_d, or lmf, which never forms it."
            )
        self.head = nn.Sequential(Dropout(fused_dropout), Linear(product, d), nn.ReLU(), Linear(d, d), nn.ReLU())

    def _fuse_embedded(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        embeddings = self.embeddings(features, steps)
        product, *others = (with_one(h) for h in embeddings.values())
        for h in others:
            product = (product.unsqueeze(-1) * h.unsqueeze(-2)).flatten(1)
        return self.head(product), embeddings
