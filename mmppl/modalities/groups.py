"""Groups of columns, whose parts are modalities."""

from __future__ import annotations

from collections.abc import Sequence

from .modality import Modality


def members(modalities: Sequence[Modality], names: Sequence[str]) -> list[str]:
    """Replace the names of groups by those of their parts.

    Args:
        modalities: the schema.
        names: names of modalities, groups, and anything else.

    Returns:
        The names, each once; those that are no group as they are.

    Example:
        >>> clinic = [Modality("clin_numbers", (2,), group="clin"), Modality("clin_sex", (), group="clin")]
        >>> members(clinic, ["z", "clin"])
        ['z', 'clin_numbers', 'clin_sex']
    """
    own = {m.name for m in modalities}
    parts = {name: [m.name for m in modalities if m.group == name] for name in names if name not in own}
    return list(dict.fromkeys(one for name in names for one in parts.get(name) or [name]))
