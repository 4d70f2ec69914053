"""Attending encoders and decoders of sequences."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...base.precision import full_precision
from ...modalities.modality import Modality
from ..mlp import Dropout, FullPrecision
from .layout import StepLayout, places

HEAD = 16  # the least size of a head; there are at most four heads
BLOCKS = 2


class Block(nn.Module):
    """Self-attention and a perceptron, each normed before and added to what came in: (N, T, C) → (N, T, C).

    Args:
        size: C.

    Source: Vaswani et al. 2017, arXiv:1706.03762; normed before, as in Xiong et al. 2020, arXiv:2002.04745.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.heads = next(n for n in (4, 2, 1) if n == 1 or (size % n == 0 and size // n >= HEAD))
        self.before, self.between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.asked = nn.Linear(size, 3 * size)
        self.joined = nn.Linear(size, size)
        self.wide, self.narrow = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, h: Tensor, there: Tensor) -> Tensor:
        """Attend to the steps that are there, (N, T) bool, of which every row has one."""
        n, steps, size = h.shape
        parts = self.asked(self.before(h)).reshape(n, steps, 3, self.heads, -1)
        query, key, value = parts.movedim(2, 0).transpose(2, 3).unbind(0)  # (N, heads, T, C / heads)
        scores = full_precision(query @ key.transpose(-1, -2)) / math.sqrt(size / self.heads)
        shares = torch.softmax(torch.where(there[:, None, None], scores, -torch.inf), -1)
        seen = (shares.to(value.dtype) @ value).transpose(1, 2).reshape(n, steps, size)
        h = h + self.joined(seen)
        return h + self.narrow(F.silu(self.wide(self.between(h))))


class TransformerEncoder(nn.Module):
    """(..., input_size) → (..., outputs): two blocks over the steps and a token before them, which is read off.

    Steps that do not exist get no attention.

    Args:
        m: the modality.
        outputs: the size of the output.
        hidden: the size of a token.
        dropout: rate of the dropout before the last layer.

    Example:
        >>> m = Modality("watch", (9, 3), "normal", sequence=True)
        >>> TransformerEncoder(m, 4, hidden=8)(torch.zeros(2, m.input_size)).shape
        torch.Size([2, 4])
    """

    places: Tensor

    def __init__(self, m: Modality, outputs: int, *, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layout = StepLayout.of(m)
        self.first = nn.Linear(self.layout.columns, hidden)
        self.token = nn.Parameter(0.02 * torch.randn(hidden))
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Sequential(Dropout(dropout), nn.Linear(hidden, outputs), FullPrecision())
        self.register_buffer("places", places(self.layout.steps, hidden), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        steps, there = self.layout.read(x)
        h = torch.where(there.unsqueeze(-1), self.first(steps) + self.places, 0.0)
        h = torch.cat([self.token.expand(len(h), 1, -1).to(h.dtype), h], 1)
        there = torch.cat([torch.ones_like(there[:, :1]), there], 1)
        for block in self.blocks:
            h = block(h, there)
        return self.head(self.norm(h[:, 0])).reshape(*x.shape[:-1], -1)


class TransformerDecoder(nn.Module):
    """(..., inputs) → (..., output_size): one block over tokens that hold what is decoded and the number of a step.

    Args:
        inputs: the size of what is decoded.
        m: the modality.
        hidden: the size of a token.

    Example:
        >>> m = Modality("watch", (9, 3), "normal", sequence=True)
        >>> TransformerDecoder(4, m, hidden=8)(torch.zeros(5, 2, 4)).shape
        torch.Size([5, 2, 27])
    """

    places: Tensor

    def __init__(self, inputs: int, m: Modality, *, hidden: int) -> None:
        super().__init__()
        self.layout = StepLayout.of(m)
        self.latent = nn.Linear(inputs, hidden)
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, self.layout.outputs)
        self.register_buffer("places", places(self.layout.steps, hidden), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        h = self.latent(z.reshape(math.prod(z.shape[:-1]), z.shape[-1])).unsqueeze(1) + self.places
        there = torch.ones(h.shape[:2], dtype=torch.bool, device=z.device)
        for block in self.blocks:
            h = block(h, there)
        return self.layout.write(self.head(self.norm(h)), z.shape[:-1])
