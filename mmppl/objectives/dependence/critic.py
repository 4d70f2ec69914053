"""The critic: a network that gives a number to a row of several vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ...base.precision import full_precision
from ...nn.mlp import Dropout
from .lipschitz import ClippedLinear, Lipschitz, SpectralLinear

Squash = Literal["none", "norm", "tanh"]
SLOPE = 0.01  # of the LeakyReLU below 0
LAYERS: dict[Any, type[nn.Linear]] = {"spectral": SpectralLinear, "clip": ClippedLinear}


class Critic(nn.Module):
    """T(x₁, …, x_M) → (B,): layers of [Linear, LeakyReLU, dropout], and a last Linear.

    A modality that a row lacks enters as zeros, and the critic is told which those are.

    Args:
        sizes: of the vectors, in their order.
        flags: numbers that say which modalities a row has; None: one for each vector where there are several. With
            another number than that of the vectors they are told, and no vector is taken for absent.
        width: of the layers.
        layers: before the last one.
        dropout: share of the units. It makes bounds noisy and lower; none by default.
        sigmoid: whether the output lies in (0, 1). Then no bound can reach more than a cap: 1 nat for Donsker and
            Varadhan, 1 − 1/e for Nguyen, Wainwright and Jordan.
        lipschitz: what bounds the Lipschitz constant: "spectral" divides each layer by its largest singular value, so
            that it is at most 1; "clip" clips the weights; "penalty" leaves it to a term of the loss; None: nothing.
        squash: what its inputs go through: "norm" (LayerNorm without parameters) or "tanh" of each vector, so that
            inflated vectors do not inflate the output; or "none".

    Raises:
        ValueError: a size, width or number of layers is not positive, or dropout is to go with a spectral norm.

    Source: Colombo et al. 2021, arXiv:2109.00922, table 4: 5 layers, dropout .4, sigmoid.

    Example:
        >>> critic = Critic([3, 2], width=8)
        >>> critic([torch.zeros(5, 3), torch.ones(5, 2)]).shape
        torch.Size([5])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        flags: int | None = None,
        width: int = 128,
        layers: int = 3,
        dropout: float = 0.0,
        sigmoid: bool = False,
        lipschitz: Lipschitz | None = None,
        squash: Squash = "none",
    ) -> None:
        super().__init__()
        if not sizes or min(*sizes, width, layers, 1) < 1:
            raise ValueError(f"Critic: sizes {list(sizes)}, width {width}, layers {layers}: each has to be at least 1.")
        if lipschitz == "spectral" and dropout:
            raise ValueError(
                "Critic: dropout stretches what it keeps, so that no spectral norm bounds it; set it to 0."
            )
        if squash not in get_args(Squash):
            raise ValueError(f"Critic: squash {squash!r} is none of {', '.join(get_args(Squash))}.")
        self.sizes, self.sigmoid, self.squash = tuple(sizes), sigmoid, squash
        linear = LAYERS.get(lipschitz, nn.Linear)
        self.flags = (len(sizes) if len(sizes) > 1 else 0) if flags is None else flags
        inputs = sum(sizes) + self.flags
        parts: list[nn.Module] = []
        for _ in range(layers):
            parts += [linear(inputs, width), nn.LeakyReLU(SLOPE), *([Dropout(dropout)] if dropout else [])]
            inputs = width
        self.network = nn.Sequential(*parts, linear(inputs, 1))

    def forward(self, vectors: Sequence[Tensor], present: Tensor | None = None) -> Tensor:
        """Give each row its number.

        Args:
            vectors: M tensors (B, size).
            present: (B, flags) bool, where a row has a vector; what the others hold does not matter. None: all.

        Returns:
            (B,) in the precision of the weights.
        """
        return self.of_inputs(self.inputs(vectors, present)).squeeze(-1)

    def of_inputs(self, rows: Tensor) -> Tensor:
        """The numbers of rows that `inputs` has made.

        Args:
            rows: (B, inputs).

        Returns:
            (B, 1).
        """
        with torch.autocast(rows.device.type, enabled=False):
            out: Tensor = self.network(rows)
            return torch.sigmoid(out) if self.sigmoid else out

    def inputs(self, vectors: Sequence[Tensor], present: Tensor | None = None) -> Tensor:
        """What the network sees: the vectors, squashed, side by side, and where there are several, which are present.

        Args:
            vectors: M tensors (B, size).
            present: (B, flags) bool; None: all.

        Returns:
            (B, inputs).
        """
        found = [full_precision(vector) for vector in vectors]
        if [v.shape[-1] for v in found] != list(self.sizes):
            raise ValueError(f"Critic: expected vectors of {list(self.sizes)}, got {[tuple(v.shape) for v in found]}.")
        if present is not None and self.flags == len(found) > 1:
            found = [torch.where(here.unsqueeze(-1), v, 0.0) for here, v in zip(present.mT, found)]
        if self.squash == "norm":
            found = [nn.functional.layer_norm(v, v.shape[-1:]) if v.shape[-1] > 1 else v.tanh() for v in found]
        elif self.squash == "tanh":
            found = [v.tanh() for v in found]
        if not self.flags:
            return found[0] if len(found) == 1 else torch.cat(found, -1)
        if present is None:
            return torch.cat([*found, torch.ones_like(found[0][:, :1]).expand(-1, self.flags)], -1)
        return torch.cat([*found, present.to(found[0].dtype)], -1)
