"""MFN: LSTMs of the modalities, attention over what changes in their memories from step to step, and a gated memory.

    h_t^m, c_t^m = LSTM_m(x_t^m)                                  a system of LSTMs, one per modality
    c* = [c_{t−1}; c_t],   ĉ* = softmax(A(c*)) ∘ c*               delta-memory attention
    û = tanh(U(ĉ*)),   γ1, γ2 = σ(G1([ĉ*; u_{t−1}])), σ(G2([ĉ*; u_{t−1}]))
    u_t = γ1 ∘ u_{t−1} + γ2 ∘ û                                   multi-view gated memory
    Z = Dropout(ReLU(W [h_T^l; h_T^a; h_T^v; u_T] + b))

A, U, G1 and G2 are perceptrons of one hidden layer.

Source: Zadeh et al. 2018, "Memory Fusion Network for Multi-view Sequential Learning", arXiv:1802.00927 (Eq. 1–10).
Differs: a row ends at its last step; a step that a modality lacks leaves its h and c as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ..mlp import Dropout, Linear, mlp
from .embedding import EmbeddingNetwork
from .registry import fusion_network
from .time_steps import Packing

Four = tuple[float, float, float, float]


@fusion_network("mfn")
class MFN(EmbeddingNetwork):
    """Memory fusion. All modalities need equally many steps; a step exists if any of them has it.

    Args:
        sizes: see `FusionNetwork`.
        text: see `FusionNetwork`; it has the widest LSTM, if `hidden` does not say otherwise.
        hidden: the width of the LSTMs: one number for all, or one per modality in their order. None: 32 for text, 8 for
            each other.
        memory: the width of the memory u.
        widths: the hidden layers of A, U, G1 and G2.
        dropouts: rates of the dropout on those hidden layers.
        d: the width of Z.
        dropout: rate of the dropout on Z.

    Raises:
        UsageError: `hidden` has not one width per modality, or `widths` or `dropouts` are not four.

    Example:
        >>> MFN({"text": 5, "audio": 3, "video": 4}, **MFN.presets["mae"]).d
        64
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "mae": dict(
            hidden=(88, 48, 16), memory=128, widths=(128, 64, 256, 64), dropouts=(0.0, 0.2, 0.0, 0.2), d=64, dropout=0.5
        ),
        "accuracy": dict(
            hidden=(64, 8, 80), memory=400, widths=(128,) * 4, dropouts=(0.5, 0.2, 0.5, 0.5), d=256, dropout=0.5
        ),
    }

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        text: str | None = None,
        hidden: int | tuple[int, ...] | None = None,
        memory: int = 32,
        widths: tuple[int, int, int, int] = (32, 32, 32, 32),
        dropouts: Four = (0.2, 0.2, 0.2, 0.2),
        d: int = 32,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(sizes, d=d, text=text, aligned=True)
        if hidden is None:
            hidden = tuple(32 if name == self.text else 8 for name in sizes)
        self.hidden = (hidden,) * len(sizes) if isinstance(hidden, int) else tuple(hidden)
        if len(self.hidden) != len(sizes):
            raise UsageError(f"MFN: {len(self.hidden)} widths of LSTMs for {len(sizes)} modalities; give one for each.")
        if len(widths) != 4 or len(dropouts) != 4:
            raise UsageError(
                f"MFN: {len(widths)} widths and {len(dropouts)} dropouts; give four of each, for A, U, G1, G2."
            )
        self.memory, self.widths = memory, dict(zip(sizes, self.hidden))
        self.cells = nn.ModuleDict({n: nn.LSTMCell(size, h) for (n, size), h in zip(sizes.items(), self.hidden)})
        states = sum(self.hidden)
        both = 2 * states + memory
        shapes = [(2 * states, 2 * states), (2 * states, memory), (both, memory), (both, memory)]
        self.attention, self.proposal, self.keep, self.write = (
            mlp(inputs, width, outputs, dropout=rate)
            for (inputs, outputs), width, rate in zip(shapes, widths, dropouts)
        )
        self.head = nn.Sequential(Linear(states + memory, d), nn.ReLU(), Dropout(dropout))

    def _fuse_embedded(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        packing = Packing.of(torch.stack(list(steps.values())).any(0))
        if not packing.counts:
            x = next(iter(features.values()))
            last = x.new_zeros(len(x), sum(self.hidden) + self.memory)
        else:
            h, changes = self._states(packing, features, steps)
            attended = torch.softmax(self.attention(changes), -1) * changes
            u = self._remember(packing, attended, torch.tanh(self.proposal(attended)))
            last = packing.rows(torch.cat([h, u], -1))
        return self.head(last), self._of_each(last[:, : -self.memory])

    def _of_each(self, states: Tensor) -> dict[str, Tensor]:
        """(B, Σ hidden) → (B, hidden) of each modality."""
        return dict(zip(self.widths, states.split(self.hidden, -1)))

    def _states(self, packing: Packing, features: dict[str, Tensor], steps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The last h of all LSTMs, (rows, Σ hidden), the longest row first, and c* at every step, (N, 2 Σ hidden)."""
        last: list[Tensor] = []
        before: list[Tensor] = []
        after: list[Tensor] = []
        for (name, x), width in zip(features.items(), self.hidden):
            x, moves = packing.pack(x), packing.pack(steps[name].unsqueeze(-1))
            h = c = x.new_zeros(packing.counts[0], width)
            was: list[Tensor] = []
            now: list[Tensor] = []
            for x_t, moves_t, n in zip(x.split(packing.counts), moves.split(packing.counts), packing.counts):
                h_t, c_t = self.cells[name](x_t, (h[:n], c[:n]))
                was.append(c[:n])
                h, c = (_first(torch.where(moves_t, new, old[:n]), old) for new, old in ((h_t, h), (c_t, c)))
                now.append(c[:n])
            last.append(h)
            before.append(torch.cat(was))
            after.append(torch.cat(now))
        return torch.cat(last, -1), torch.cat([*before, *after], -1)

    def _remember(self, packing: Packing, attended: Tensor, proposed: Tensor) -> Tensor:
        """The memory after the last step of each row, (rows, memory), the longest row first."""
        u = attended.new_zeros(packing.counts[0], self.memory)
        for a, proposal, n in zip(attended.split(packing.counts), proposed.split(packing.counts), packing.counts):
            both = torch.cat([a, u[:n]], -1)
            kept, written = torch.sigmoid(self.keep(both)), torch.sigmoid(self.write(both))
            u = _first(kept * u[:n] + written * proposal, u)
        return u


def _first(new: Tensor, old: Tensor) -> Tensor:
    """`old` with its first rows replaced; the others have no further step."""
    return new if len(new) == len(old) else torch.cat([new, old[len(new) :]])
