"""Answers as ArviZ's InferenceData, for its plots and summaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.extras import extra
from ...errors import UsageError

if TYPE_CHECKING:
    from ..answer import Answer


def draws_by_name(answer: Answer) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """Return the draws of an answer, one chain, and the names of their axes.

    Args:
        answer: an answer with draws.

    Returns:
        Name → (1, draws, n, *shape) values, and the names of the axes after the draws.

    Raises:
        UsageError: the answer has no draws.
    """
    found = {}
    for name, parts in answer.want.items():
        if "draws" in parts:
            draws = np.moveaxis(np.asarray(parts["draws"]), 1, 0)[None]
            found[name] = (draws, ("row", *(f"{name}_axis{axis}" for axis in range(draws.ndim - 3))))
    if not found:
        raise UsageError("answer.to_arviz: the answer has no draws; ask with keep_draws=True.")
    return found


def inference_data(answer: Answer) -> Any:
    """Return the draws of an answer as ArviZ's InferenceData (of ArviZ 1 and later, a DataTree).

    Args:
        answer: an answer with draws.

    Returns:
        A group `posterior`, with one chain; axis `row` has the ids, and the axis of features their names.

    Raises:
        UsageError: the answer has no draws, or ArviZ is not installed.
    """
    found = draws_by_name(answer)
    with extra("arviz", "answer.to_arviz"):
        import arviz
    coordinates: dict[str, Any] = {"row": answer.ids}
    for name, (draws, axes) in found.items():
        features = answer.features.get(name, ())
        if len(axes) == 2 and draws.shape[-1] == len(features):
            coordinates[axes[1]] = list(features)
    posterior = {name: draws for name, (draws, _) in found.items()}
    return arviz.from_dict(
        {"posterior": posterior} if _takes_groups(arviz) else posterior,
        dims={name: list(axes) for name, (_, axes) in found.items()},
        coords=coordinates,
    )


def _takes_groups(arviz: Any) -> bool:
    """Say whether `from_dict` takes the groups in one mapping, as ArviZ does from version 1 on."""
    return int(str(arviz.__version__).partition(".")[0]) >= 1
