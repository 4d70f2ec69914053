"""Which modalities of a program have a role in figures and metrics: the label of classes, and what it generates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..modalities.kinds import kind
from ..modalities.modality import Modality

if TYPE_CHECKING:
    from .program import Program


def class_label(program: Program) -> Modality | None:
    """Find the first label that is one class per row.

    Args:
        program: the program.

    Returns:
        The label; None where the program has no such label.

    Example:
        >>> from mmppl.core.program import Program
        >>> digit = Modality("digit", (), "categorical", role="label", classes=("0", "1"))
        >>> class_label(Program([Modality("x", (3,), "normal"), digit])).name
        'digit'
    """
    return next((m for m in program.modalities if m.role == "label" and kind(m) == "class"), None)


def generates(program: Program) -> list[str]:
    """List the modalities (no labels) that a program has a distribution for."""
    return [name for name in program.targets() if program.modality(name).role == "modality"]
