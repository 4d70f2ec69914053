"""Columns of a frame or a file that bring an order of their classes are ordinal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


def order_in(dictionary: Any) -> tuple[str | int, ...] | None:
    """Return the classes of an array of Arrow in their order.

    Args:
        dictionary: an array of Arrow.

    Returns:
        All texts or all whole numbers; None if it has no such order.

    Example:
        >>> import pyarrow
        >>> codes = pyarrow.array([1, 0], pyarrow.int8())
        >>> order_in(pyarrow.DictionaryArray.from_arrays(codes, ["low", "high"], ordered=True))
        ('low', 'high')
    """
    if not getattr(dictionary.type, "ordered", False):
        return None
    found = dictionary.dictionary.to_pylist()
    return tuple(found) if {type(one) for one in found} in ({str}, {int}) else None


def one_order(orders: Sequence[tuple[str | int, ...]]) -> tuple[str | int, ...] | None:
    """Return the order that those of several parts of a column agree on.

    Args:
        orders: of each part, the classes in their order.

    Returns:
        The longest, if each other is it without some classes; else None.

    Example:
        >>> one_order([("low", "high"), ("low", "mid", "high")])
        ('low', 'mid', 'high')
        >>> one_order([("low", "high"), ("high", "low")]) is None
        True
    """
    longest = max(orders, key=len, default=())
    alike = all(tuple(one for one in longest if one in set(order)) == order for order in orders)
    return longest if longest and alike else None
