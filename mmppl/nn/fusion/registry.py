"""The table of fusion networks by name. Each built-in one is a file of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...base.registry import Registry
from .embedding import EmbeddingNetwork
from .network import FusionNetwork

ASIDE = ("registry", "network", "embedding", "time_steps", "unimodal", "mag", "pretrained", "word_pieces")


def _lacks(network: Any) -> list[str]:
    if not (isinstance(network, type) and issubclass(network, FusionNetwork)):
        return ["the base class mmppl.FusionNetwork"]
    if network._fuse is FusionNetwork._fuse:
        return ["the method _fuse"]
    writes = not issubclass(network, EmbeddingNetwork) or network._fuse_embedded is not EmbeddingNetwork._fuse_embedded
    return [] if writes else ["the method _fuse_embedded"]


FUSIONS: Registry[Any] = Registry("fusion network", __package__ or "", aside=ASIDE, lacks=_lacks)


def fusion_network(name: str) -> Callable[[Any], Any]:
    """Register a subclass of `FusionNetwork` by a name.

    Args:
        name: the name, as in `--set fusion=NAME`.

    Returns:
        A decorator, which returns the class unchanged.

    Raises:
        UsageError: the name is taken, or the class is no fusion network.

    Example:
        >>> import mmppl
        >>> from mmppl.nn.fusion.registry import FUSIONS
        >>> @mmppl.fusion_network("mean")
        ... class Mean(mmppl.FusionNetwork):
        ...     def __init__(self, sizes, text=None):
        ...         super().__init__(sizes, d=sum(sizes.values()), text=text)
        ...     def _fuse(self, features, steps):
        ...         means = [features[m].sum(1) / steps[m].sum(1, keepdim=True).clamp(min=1) for m in self.sizes]
        ...         return torch.cat(means, -1)
        >>> FUSIONS["mean"]({"text": 5, "audio": 3}).d
        8
        >>> FUSIONS.forget("mean")
    """
    return FUSIONS.register(name)


def fusion_class(name: str) -> Any:
    """Find a fusion network by its name.

    Args:
        name: the name of a built-in one, or one that was registered.

    Returns:
        Its class, a `FusionNetwork`, which takes `sizes`, `text` and its hyper-parameters.

    Raises:
        UsageError: there is none of that name; the message suggests the nearest.

    Example:
        >>> fusion_class("lmf")({"text": 5, "audio": 3}, d=4).d
        4
    """
    return FUSIONS[name]
