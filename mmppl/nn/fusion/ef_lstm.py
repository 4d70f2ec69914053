"""EF-LSTM: early fusion, one LSTM over the concatenated features of every time step.

    x_t = [l_t; a_t; v_t],   h_t = LSTM(x_t, h_{t−1}),   Z = Dropout(ReLU(W h_T + b))

Source: Zadeh et al. 2018, "Memory Fusion Network for Multi-view Sequential Learning", arXiv:1802.00927, and the
baseline in its code. Differs: a row ends at its last step, a modality that a step lacks is 0 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..mlp import Dropout, Linear
from .network import FusionNetwork
from .registry import fusion_network
from .time_steps import last_state


@fusion_network("ef-lstm")
class EFLSTM(FusionNetwork):
    """Early fusion. All modalities need equally many steps; a step exists if any of them has it.

    Args:
        sizes: see `FusionNetwork`.
        text: see `FusionNetwork`; text is treated as the others are.
        hidden: the width of the LSTM.
        d: the width of Z.
        dropout: rate of the dropout on Z.

    Example:
        >>> EFLSTM({"text": 5, "audio": 3}, **EFLSTM.presets["zadeh2018"]).d
        128
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {"zadeh2018": {"hidden": 128, "d": 128, "dropout": 0.5}}

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        text: str | None = None,
        hidden: int = 64,
        d: int = 32,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(sizes, d=d, text=text, aligned=True)
        self.lstm = nn.LSTM(sum(sizes.values()), hidden)
        self.head = nn.Sequential(Linear(hidden, d), nn.ReLU(), Dropout(dropout))

    def _fuse(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> Tensor:
        x = torch.cat(list(features.values()), -1)
        exists = torch.stack(list(steps.values())).any(0)
        return self.head(last_state(self.lstm, x, exists))
