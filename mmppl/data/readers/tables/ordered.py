"""Columns of a frame that bring an order of their classes are ordinal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SEPARATORS = ("<", "/", ",")  # that the text of an override has


def orders_of(levels: Mapping[str, Sequence[str | int]]) -> dict[str, str]:
    """Say which columns are ordinal, and in which order.

    Args:
        levels: name → the classes of an ordered column, in their order.

    Returns:
        name → "ordinal:order=…", as `Arrays.as_` takes it, for those with at least two classes. Those whose classes
        have a sign by which an order is read stay what they would be without an order.

    Example:
        >>> orders_of({"stage": ("I", "II"), "arm": ("a/b", "c")})
        {'stage': 'ordinal:order=I<II'}
    """
    found = {}
    for name, classes in levels.items():
        texts = [str(one) for one in classes]
        if len(texts) > 1 and not any(sign in one for one in texts for sign in SEPARATORS):
            found[name] = f"ordinal:order={'<'.join(texts)}"
    return found
