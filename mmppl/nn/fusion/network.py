"""What every fusion network has in common: sizes, checks of its input, and that nothing under a mask matters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...base.precision import full_precision
from ...errors import UsageError, suggest


class FusionNetwork(nn.Module):
    """A network from sequences of features of several modalities to one vector Z per row.

    A subclass takes `sizes` and, as keyword arguments, `text` and its hyper-parameters, and writes `_fuse`. Rows may
    lack time steps, and all steps of a modality: such steps have zeros as features, whatever the caller put there.

    Args:
        sizes: features per time step, by the name of the modality. Their order is that of concatenations.
        d: the width of Z.
        text: name of the modality that is read as words, where a paper treats it in its own way. None: the first.
        aligned: whether the network reads all modalities step by step together, so that all need equally many.

    Raises:
        UsageError: there is no modality, a size is below 1, or no modality is called `text`.

    Example:
        >>> import torch
        >>> from mmppl.nn.fusion.registry import FUSIONS
        >>> network = FUSIONS["lmf"]({"text": 5, "audio": 3}, d=4)
        >>> features = {"text": torch.randn(2, 7, 5), "audio": torch.randn(2, 9, 3)}
        >>> steps = {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in features.items()}
        >>> steps["audio"][1] = False  # the second row has no audio
        >>> network.fuse(features, steps).shape, network.d
        (torch.Size([2, 4]), 4)
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Hyper-parameters of published configurations, by a short name."""
    reads_pieces: ClassVar[bool] = False
    """Whether text comes as word pieces, whose numbers are codes that nothing may scale."""

    def __init__(self, sizes: Mapping[str, int], *, d: int, text: str | None = None, aligned: bool = False) -> None:
        super().__init__()
        kind = type(self).__name__
        if not sizes:
            raise UsageError(f"{kind} has no modality to fuse; name at least one.")
        if min(*sizes.values(), d, d) < 1:
            raise UsageError(f"{kind}: {_listed(sizes)} features and d={d}: all have to be at least 1.")
        if text is not None and text not in sizes:
            raise UsageError(f"{kind}: no modality {text!r} for text; there are {', '.join(sizes)}."
                             f"{suggest(text, list(sizes))}")  # fmt: skip
        self.sizes, self.d, self.aligned = dict(sizes), d, aligned
        self.text = text if text is not None else next(iter(sizes))

    def fuse(self, features: Mapping[str, Tensor], steps: Mapping[str, Tensor]) -> Tensor:
        """Fuse the modalities of each row; the same as calling the network.

        Args:
            features: (B, T, F) by the name of each modality. T may differ between modalities if not `aligned`.
            steps: (B, T) bool by the same names; False where a time step does not exist. A modality that a row lacks
                has no True. The existing steps of a row may lie anywhere: what counts is their order.

        Returns:
            Z, (B, d). What lies in `features` where `steps` is False changes no bit of it.

        Raises:
            ValueError: a modality is absent, or shapes or dtypes do not fit.
        """
        return self(features, steps)

    def forward(self, features: Mapping[str, Tensor], steps: Mapping[str, Tensor]) -> Tensor:
        """See `fuse`."""
        return full_precision(self._fuse(*self._checked(features, steps)))

    def _fuse(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> Tensor:
        """Z from checked input, which is 0 where a step does not exist."""
        raise NotImplementedError(f"{type(self).__name__} has to define `_fuse`.")

    def _checked(
        self, features: Mapping[str, Tensor], steps: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Features and steps of what is fused, in the order of `sizes`, with 0 where a step does not exist."""
        self._check(features, steps)
        kept = {name: torch.where(steps[name].unsqueeze(-1), features[name], 0.0) for name in self.sizes}
        return kept, {name: steps[name] for name in self.sizes}

    def _check(self, features: Mapping[str, Tensor], steps: Mapping[str, Tensor]) -> None:
        kind = type(self).__name__
        if absent := [name for name in self.sizes if name not in features or name not in steps]:
            raise ValueError(
                f"{kind}: {', '.join(absent)} absent from the features or the steps; give a modality that no row has "
                "as zeros without a True step."
            )
        lengths = {name: features[name].shape[1] for name in self.sizes if features[name].ndim == 3}
        rows = {features[name].shape[0] for name in self.sizes}
        for name, size in self.sizes.items():
            x, present = features[name], steps[name]
            if x.ndim != 3 or x.shape[2] != size or x.shape[:2] != present.shape or len(rows) > 1:
                raise ValueError(
                    f"{kind}: {name} has features {tuple(x.shape)} and steps {tuple(present.shape)}; expected "
                    f"(B, T, {size}) and (B, T), with one B for all modalities."
                )
            if present.dtype != torch.bool or not x.dtype.is_floating_point:
                raise ValueError(
                    f"{kind}: {name} has {x.dtype} features and {present.dtype} steps; convert them to floats and bool."
                )
        if self.aligned and len(set(lengths.values())) > 1:
            raise ValueError(
                f"{kind} reads all modalities step by step together, and they have {_listed(lengths)} steps; align "
                "them (one step per word or utterance), or take a network that reads each alone, such as lf-lstm."
            )


def _listed(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in numbers.items())
