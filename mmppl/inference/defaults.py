"""What a query asks for if it does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runs.run import Run


def default_want(run: Run, given: list[str] | None) -> list[str]:
    """Choose what a query asks for if it does not say: the labels, and the modalities that are not given.

    If each row gives whatever it has, these are only the labels and the modalities that a conditional model generates.

    Args:
        run: the run that is asked.
        given: the names that are given, or None.

    Returns:
        The names; ["z"] if there is neither a label nor a modality to ask for.
    """
    labels, modalities = labels_and_modalities(run)
    others = modalities if given is not None or run.program.conditions else []
    return [name for name in labels + others if name not in (given or [])] or ["z"]


def labels_and_modalities(run: Run) -> tuple[list[str], list[str]]:
    """List the labels and the modalities that a program answers about.

    Args:
        run: the run that is asked.

    Returns:
        The names of the labels, and those of the modalities.
    """
    answers = run.program.targets()
    labels, modalities = ([m.name for m in run.modalities if m.role == role] for role in ("label", "modality"))
    return [name for name in labels if name in answers], [name for name in modalities if name in answers]
