"""Which modalities are labels, where the user names the target."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from ...errors import UsageError, suggest
from ...modalities.modality import Modality
from .overrides import Override


def with_targets(
    modalities: Sequence[Modality], target: Collection[str] | None, overrides: dict[str, Override]
) -> tuple[Modality, ...]:
    """Make the named modalities labels, and all others inputs.

    Args:
        modalities: the schema.
        target: the names of the labels; None leaves the roles as they are.
        overrides: name → what the user says about it; a role in it stays.

    Returns:
        The schema with these roles.

    Raises:
        UsageError: there is no modality of a name, or no input is left.
    """
    if target is None:
        return tuple(modalities)
    names = [m.name for m in modalities]
    for name in target:
        if name not in names:
            raise UsageError(f"--target {name}: no array {name!r}; there are {', '.join(names)}.{suggest(name, names)}")
    found = []
    for m in modalities:
        own = overrides.get(m.name)
        chosen = m.role if own is not None and own.role else "label" if m.name in target else "modality"
        found.append(dataclasses.replace(m, role=chosen) if chosen != m.role else m)
    if not any(m.role == "modality" for m in found):
        raise UsageError(f"--target {','.join(target)}: nothing is left to predict it from.")
    return tuple(found)
