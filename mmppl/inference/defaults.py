"""What a query wants where nothing is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runs.run import Run


def wanted(run: Run, given: list[str] | None) -> list[str]:
    """What a query asks for when it does not say: the labels, and the modalities that are not given.

    Where each row gives what it has, that is only the labels, and the modalities that a conditional model generates.
    """
    labels, views = _labels_and_views(run)
    others = views if given is not None or run.program.conditions else []
    return [name for name in labels + others if name not in (given or [])] or ["z"]


def _labels_and_views(run: Run) -> tuple[list[str], list[str]]:
    """Names of what the program answers about, by role."""
    answers = run.program.targets()
    labels, views = ([m.name for m in run.modalities if m.role == role] for role in ("label", "modality"))
    return [name for name in labels if name in answers], [name for name in views if name in answers]
