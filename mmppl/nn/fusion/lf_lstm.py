"""LF-LSTM: late fusion, one LSTM for each modality, whose last states are concatenated.

    h_m = LSTM_m(x_m),   Z = Dropout(ReLU(W [h_l; h_a; h_v] + b))

Source: Colombo et al. 2021, "Improving Multimodal fusion via Mutual Dependency Maximisation", arXiv:2109.00922, whose
text describes its "EF-LSTM" so: each view is encoded separately, then fused.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..mlp import Dropout, Linear
from .embedding import EmbeddingNetwork
from .registry import fusion_network
from .time_steps import last_state


@fusion_network("lf-lstm")
class LFLSTM(EmbeddingNetwork):
    """Late fusion. Modalities may have different numbers of steps; the state of a missing one is 0.

    Args:
        sizes: see `FusionNetwork`.
        text: see `FusionNetwork`; text is treated as the others are.
        hidden: the width of each LSTM.
        d: the width of Z.
        dropout: rate of the dropout on Z.

    Example:
        >>> LFLSTM({"text": 5, "audio": 3}, hidden=16).d
        32
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        text: str | None = None,
        hidden: int = 64,
        d: int = 32,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(sizes, d=d, text=text)
        self.widths = dict.fromkeys(sizes, hidden)
        self.lstms = nn.ModuleDict({name: nn.LSTM(size, hidden) for name, size in sizes.items()})
        self.head = nn.Sequential(Linear(len(sizes) * hidden, d), nn.ReLU(), Dropout(dropout))

    def _fuse_embedded(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        states = {name: last_state(self.lstms[name], x, steps[name]) for name, x in features.items()}  # type: ignore[arg-type]
        return self.head(torch.cat(list(states.values()), -1)), states
