"""A finding: one line about data, such as a value that looks like "missing"."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One line about data: what is there, what it was taken for, and the option that changes it.

    Args:
        kind: the name of the examination, such as "sentinels", or of the step of reading that tells it.
        name: the modality, label or annotation that it is about; "" if it is about whole rows.
        text: the line.
        suspected: whether the data are probably wrong as they were understood; `strict` refuses them then.

    Example:
        >>> import mmppl
        >>> ages = [30.0 + i for i in range(40)] + [-9.0] * 3
        >>> [finding.kind for finding in mmppl.read({"age": ages, "height": ages[::-1]}).findings if finding.suspected]
        ['sentinels', 'sentinels']
    """

    kind: str
    name: str
    text: str
    suspected: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON data."""
        return dataclasses.asdict(self)


def listed(values: Sequence[object], most: int = 5) -> str:
    """Name the first of several things.

    Args:
        values: the things.
        most: how many are named.

    Returns:
        Their names, and how many more there are.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    text = ", ".join(str(value) for value in values[:most])
    return text + (f" and {len(values) - most:,} more" if len(values) > most else "")
