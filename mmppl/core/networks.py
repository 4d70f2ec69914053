"""What is said where the networks that a fit is asked for do not fit every modality."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..base.text import printable
from ..modalities.modality import Modality
from ..nn.options import NetworkOptions
from ..nn.per_modality import without_fit
from .program import Program


def check_networks(
    cls: type[Program], hyper: Mapping[str, Any], modalities: Sequence[Modality], log: Callable[[str], None]
) -> None:
    """Tell of modalities that get MLPs although other networks are asked for.

    Args:
        cls: the program's class; one without `NetworkOptions` is passed over.
        hyper: the hyper-parameters that it is built with.
        modalities: the schema of the data.
        log: receives at most one line.

    Raises:
        UsageError: the networks fit none of the modalities.
    """
    defaults = [p.default for p in inspect.signature(cls.__init__).parameters.values()]
    options = next((default for default in defaults if isinstance(default, NetworkOptions)), None)
    if options is None:
        return
    networks = hyper.get("networks", options.networks)
    left = without_fit(modalities, networks)
    if left:
        log(f"networks={networks} does not fit {', '.join(map(printable, left))}: an MLP there.")
