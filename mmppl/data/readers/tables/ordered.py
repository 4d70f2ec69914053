"""Columns of a DataFrame that bring an order of their categories (ordered Categorical of pandas)."""

from __future__ import annotations

from typing import Any

SEPARATORS = ("<", "/", ",")  # that the text of an override has


def declared_orders(frame: Any) -> dict[str, str]:
    """Say which columns are ordinal, and in which order.

    Args:
        frame: a DataFrame of pandas or of a similar library.

    Returns:
        name → "ordinal:order=…", as `Arrays.as_` takes it, for ordered Categoricals with at least two categories. Those
        whose categories have a sign by which an order is read stay what they would be without an order.

    Example:
        >>> import pandas
        >>> declared_orders(pandas.DataFrame({"stage": pandas.Categorical(["I", "II"], ["I", "II"], ordered=True)}))
        {'stage': 'ordinal:order=I<II'}
    """
    found = {}
    for column in frame.columns:
        dtype: Any = getattr(frame[column], "dtype", None)
        if not getattr(dtype, "ordered", False):
            continue
        categories = [str(one) for one in dtype.categories]
        if len(categories) > 1 and not any(sign in one for one in categories for sign in SEPARATORS):
            found[str(column)] = f"ordinal:order={'<'.join(categories)}"
    return found
