"""What a row of a modality is, for those who print, score or draw it."""

from __future__ import annotations

from .modality import Modality


def kind(m: Modality) -> str:
    """Say what a row of a modality is: one "class", a "sequence" of classes, a "number" or several, "tags" (a label of
    probabilities: each of its columns is yes or no), or what its likelihood calls it (`Likelihood.kind`).
    """
    family = m.family
    if family.values == "classes":
        return "sequence" if m.shape else "class"
    if family.kind:
        return family.kind
    probabilities = family.values == "numbers" and not family.density
    return "tags" if m.role == "label" and probabilities and not m.sequence else "number"


def is_score(m: Modality) -> bool:
    """Whether a row of a modality is a label that is one number, such as a sentiment from −3 to 3."""
    return m.role == "label" and kind(m) == "number" and m.size == 1 and not m.sequence
