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
        rows: the row numbers that it is about, each with the place and value in words; the text begins with the first
            of these words. Empty if it is about no single rows.

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
    rows: tuple[tuple[int, str], ...] = ()

    def of_rows(self, rows: Sequence[int]) -> Finding | None:
        """Return what the finding says of some of the rows.

        Args:
            rows: the row numbers that are taken, in their new order.

        Returns:
            The finding with new row numbers (its text keeps those of the source), or None if it is about other rows.

        Example:
            >>> words = ((2, "row 2: 'x'"), (5, "row 5: 'y'"))
            >>> found = Finding("unseen-level", "sex", "row 2: 'x' is no class.", rows=words)
            >>> again = found.of_rows([4, 5])
            >>> again.text, again.rows
            ("row 5: 'y' is no class.", ((1, "row 5: 'y'"),))
        """
        if not self.rows:
            return self
        words = dict(self.rows)
        kept = tuple((at, words[row]) for at, row in enumerate(rows) if row in words)
        if not kept:
            return None
        return dataclasses.replace(self, text=kept[0][1] + self.text.removeprefix(self.rows[0][1]), rows=kept)

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON data, without the row numbers."""
        return {key: value for key, value in vars(self).items() if key != "rows"}


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
