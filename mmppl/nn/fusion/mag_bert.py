"""MAG-BERT: the gate stands after BERT's embeddings; Z is the pooled vector of [CLS]. See `mmppl.nn.fusion.mag`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .mag import MAG
from .registry import fusion_network


@fusion_network("mag-bert")
class MAGBert(MAG):
    """BERT with a multimodal adaptation gate. Needs `pip install mmppl[text]`, and the model's files.

    Args:
        sizes: see `MAG`.
        text: see `MAG`.
        model: see `MAG`.
        pretrained: see `MAG`.
        beta: see `MAG`.
        dropout: see `MAG`.

    Raises:
        UsageError: see `MAG`.
        DataError: see `MAG`.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        text: str | None = None,
        model: str = "bert-base-uncased",
        pretrained: bool = True,
        beta: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            sizes, text=text, family="bert", model=model, pretrained=pretrained, beta=beta, dropout=dropout
        )
        self.encoder.embeddings.register_forward_hook(self._after_embeddings)

    def _after_embeddings(self, module: nn.Module, inputs: Any, e: Tensor) -> Tensor:
        return self._gated(e)

    def _encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(input_ids=ids, attention_mask=mask.long()).pooler_output
