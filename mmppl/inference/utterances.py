"""Codes of utterances from the codes of their tokens, weighted by their importances."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from .answer import Answer


def utterance_codes(answer: Answer, utterance: Sequence[str | int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """s = Σ_l Σ_m y_lm u_lm / Σ_l Σ_m y_lm over the tokens l of each utterance, y the importances of the M modalities.

    As z_l = Σ_m y_lm u_lm / Σ_m y_lm, that is the mean of the codes z of the tokens, weighted by Σ_m y_lm.

    Args:
        answer: of a query with want=["z", "importance"], one row for each token: one (word, acoustic vector) pair.
        utterance: (n,) the utterance of each token.

    Returns:
        (G,) utterances in the order in which they first appear, and (G, D) their codes; 0, the mean of the prior, for
        an utterance of whose tokens nothing is given.

    Raises:
        UsageError: the answer lacks z or the importances, or has another number of rows.

    Source: "Importance-based Multimodal Autoencoder" (ICLR 2021 submission), eq. 5.

    Example:
        >>> z, y = np.array([[1.0], [4.0], [7.0]]), np.array([[1.0], [0.5], [1.0]])
        >>> answer = Answer("model", None, np.arange(3), {"z": {"mean": z}, "importance": {"value": y}})
        >>> utterance_codes(answer, ["a", "a", "b"])
        (array(['a', 'b'], dtype='<U1'), array([[2.],
               [7.]]))
    """
    lacking = [name for name in ("z", "importance") if name not in answer.want]
    if lacking:
        named = ", ".join(lacking)
        raise UsageError(f"utterance_codes: the answer lacks {named}; query with want=['z', 'importance'].")
    names = np.asarray(utterance)
    if names.shape != (answer.n,):
        raise UsageError(
            f"utterance_codes: {answer.n} tokens, utterances of shape {names.shape}; name one for each."
        )
    _, first, group = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    z, weight = answer["z"]["mean"], answer["importance"]["value"].sum(-1).astype(np.float64)
    total = np.zeros(len(order))
    codes = np.zeros((len(order), z.shape[-1]))
    np.add.at(total, place[group], weight)
    np.add.at(codes, place[group], weight[:, None] * z)
    shares = np.where(total > 0, total, 1.0)[:, None]
    return names[first[order]], (codes / shares).astype(z.dtype)
