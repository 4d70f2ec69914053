"""Fusion networks that make one vector of each modality before they fuse, which others may look at, too."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...base.precision import full_precision
from .network import FusionNetwork


class EmbeddingNetwork(FusionNetwork):
    """A network with an embedding of each modality alone. A subclass sets `widths` and writes `_fuse_embedded`.

    Attributes:
        widths: of the embeddings, by the name of the modality, in the order of `sizes`.

    Example:
        >>> import torch
        >>> from mmppl.nn.fusion.registry import FUSIONS
        >>> network = FUSIONS["lf-lstm"]({"text": 5, "audio": 3}, hidden=4).eval()
        >>> features = {"text": torch.randn(2, 7, 5), "audio": torch.randn(2, 9, 3)}
        >>> steps = {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in features.items()}
        >>> z, embeddings = network.fuse_embedded(features, steps)
        >>> bool((z == network.fuse(features, steps)).all()), embeddings["audio"].shape
        (True, torch.Size([2, 4]))
    """

    widths: dict[str, int]

    def fuse_embedded(
        self, features: Mapping[str, Tensor], steps: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Fuse, and give what was fused.

        Args:
            features: as in `fuse`.
            steps: as in `fuse`.

        Returns:
            Z, (B, d), and the embedding of each modality, (B, width), which depends on nothing but that modality. That
            of a modality which a row lacks is 0.

        Raises:
            ValueError: as for `fuse`.
        """
        z, embeddings = self._fuse_embedded(*self._checked(features, steps))
        return full_precision(z), {name: full_precision(h) for name, h in embeddings.items()}

    def _fuse(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> Tensor:
        return self._fuse_embedded(features, steps)[0]

    def _fuse_embedded(self, features: dict[str, Tensor], steps: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Z and the embeddings from checked input, which is 0 where a step does not exist."""
        raise NotImplementedError(f"{type(self).__name__} has to define `_fuse_embedded`.")
