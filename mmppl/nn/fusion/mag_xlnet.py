"""MAG-XLNet: the gate stands before XLNet's second layer; Z is a summary of the last piece. See `mmppl.nn.fusion.mag`.

XLNet puts its special pieces, <sep> <cls>, at the end, and its authors pad on the left, so that <cls> is the last of
all. Positions are relative and padding is not attended to: here rows are padded on the right, as those of BERT, and the
last piece that exists is read, which gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ..mlp import Dropout, Linear
from .mag import MAG
from .registry import fusion_network

PLACE = 1  # the layer before which the gate stands
CLS_SEGMENT = 2  # of XLNet: pieces of the text are of segment 0


@fusion_network("mag-xlnet")
class MAGXLNet(MAG):
    """XLNet with a multimodal adaptation gate. Needs `pip install mmppl[text]`, and the model's files.

    Args:
        sizes: see `MAG`.
        text: see `MAG`.
        model: see `MAG`.
        pretrained: see `MAG`.
        beta: see `MAG`.
        dropout: see `MAG`.

    Raises:
        UsageError: see `MAG`; or the model has one layer only.
        DataError: see `MAG`.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        text: str | None = None,
        model: str = "xlnet-base-cased",
        pretrained: bool = True,
        beta: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            sizes, text=text, family="xlnet", model=model, pretrained=pretrained, beta=beta, dropout=dropout
        )
        if len(self.encoder.layer) <= PLACE:
            raise UsageError(f"{model} has one layer, and the gate stands before the second; take a deeper model.")
        self.encoder.layer[PLACE].register_forward_pre_hook(self._before_layer)
        self.summary = nn.Sequential(
            Linear(self.d, self.d), nn.Tanh(), Dropout(self.encoder.config.summary_last_dropout)
        )
        nn.init.normal_(self.summary[0].weight, std=self.encoder.config.initializer_range)  # type: ignore[arg-type]
        nn.init.zeros_(self.summary[0].bias)  # type: ignore[arg-type]

    def _before_layer(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._gated(inputs[0], time_first=True), *inputs[1:])

    def _encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        last = mask.sum(1, keepdim=True) - 1
        segments = torch.where(torch.arange(ids.shape[1], device=ids.device) == last, CLS_SEGMENT, 0)
        found = self.encoder(input_ids=ids, attention_mask=mask.long(), token_type_ids=segments, use_mems=False)
        return self.summary(found.last_hidden_state[torch.arange(len(ids), device=ids.device), last.squeeze(1)])
