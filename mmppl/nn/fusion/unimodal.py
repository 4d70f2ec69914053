"""The networks of tensor fusion that see one modality: an LSTM for text, a perceptron on the mean for the others."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..mlp import Dropout, Linear
from .time_steps import last_state, mean


class TextEmbedding(nn.Module):
    """Words (B, T, F) → (B, d): LSTM, then Dropout and a linear map."""

    def __init__(self, size: int, hidden: int, d: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(size, hidden)
        self.head = nn.Sequential(Dropout(dropout), Linear(hidden, d))

    def forward(self, x: Tensor, steps: Tensor) -> Tensor:
        return self.head(last_state(self.lstm, x, steps))


class MeanEmbedding(nn.Module):
    """Frames (B, T, F) → (B, d): the mean over time, then Dropout and three layers."""

    def __init__(self, size: int, d: int, dropout: float) -> None:
        super().__init__()
        layers = [layer for inputs in (size, d, d) for layer in (Linear(inputs, d), nn.ReLU())]
        self.head = nn.Sequential(Dropout(dropout), *layers)

    def forward(self, x: Tensor, steps: Tensor) -> Tensor:
        return self.head(mean(x, steps))


class Embeddings(nn.ModuleDict):
    """One embedding per modality; that of a modality which a row lacks is 0.

    Args:
        sizes: features per time step, by name.
        text: the modality that is read by an LSTM.
        text_hidden: the width of that LSTM.
        text_d: the width of the embedding of text.
        other_d: the width of the embedding of each other modality.
        dropout: rate of the dropout, on the state of the LSTM and on the means.
    """

    def __init__(
        self, sizes: Mapping[str, int], text: str, *, text_hidden: int, text_d: int, other_d: int, dropout: float
    ) -> None:
        super().__init__()
        self.widths = {name: text_d if name == text else other_d for name in sizes}
        for name, size in sizes.items():
            self[name] = (
                TextEmbedding(size, text_hidden, text_d, dropout)
                if name == text
                else MeanEmbedding(size, other_d, dropout)
            )

    def forward(self, features: Mapping[str, Tensor], steps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """h_m, (B, width), of each modality."""
        return {
            name: torch.where(steps[name].any(1, keepdim=True), network(features[name], steps[name]), 0.0)
            for name, network in self.items()
        }


def with_one(h: Tensor) -> Tensor:
    """[1; h], (B, 1 + width): where a modality is missing, and h is 0, only products with the 1 are left of it."""
    return torch.cat([torch.ones_like(h[:, :1]), h], -1)
