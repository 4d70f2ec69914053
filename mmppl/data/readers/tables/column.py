"""A column of a frame of any library, as an array of numbers or text; narwhals knows the libraries."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np

from ....errors import DataError
from ..cells import parse_column

SPANS = ("Duration", "Time")
NESTED = ("List", "Array")


def cells_of(name: str, series: Any) -> tuple[np.ndarray, np.ndarray]:
    """Convert a column of a frame, or a Series, to numbers or text.

    Args:
        name: its name, for messages.
        series: a column of pandas, polars, Arrow or any library that narwhals knows.

    Returns:
        (N,) values, or (N, F) of a column of lists of F numbers; and (N,) bool, True where they are missing.

    Raises:
        DataError: its cells are neither all numbers nor all text, are lists of unequal length, or are dates (which
            `dates_of` returns as text) or spans of time.

    Example:
        >>> import pandas as pd
        >>> cells_of("stage", pd.Series([3, None, 1], dtype="Int64"))
        (array([3, 3, 1]), array([False,  True, False]))
    """
    column = _wrapped(series)
    kind = "" if column is None else type(column.dtype).__name__
    if kind in SPANS or _is_date(column, kind):
        what = (
            "spans of time; convert them to numbers, such as days" if kind in SPANS else "dates; convert them to days"
        )
        raise DataError(f"{name!r} holds {what}, or leave the column out (--as {name}=ignore).")
    if kind in ("Struct", "Binary"):
        raise DataError(f"{name!r} holds {kind.lower()} cells; give numbers or text, or leave it out.")
    if column is None:
        return _of_array(name, np.asarray(series.to_numpy()))
    if kind in NESTED:
        return _of_lists(name, column)
    if column.dtype.is_integer() or kind == "Boolean":
        return _of_integers(column)
    if column.dtype.is_float() or kind == "Decimal":
        values = np.asarray((column if kind != "Decimal" else _as_floats(column)).to_numpy())
        values = values.astype(np.float64) if values.dtype.kind != "f" else values
        return values, np.isnan(values)
    return _of_array(name, np.asarray(column.to_numpy()))


def dates_of(name: str, series: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a column of dates as text, such as "2026-11-28" or "2026-11-28T06:00:00".

    Args:
        name: its name, for messages.
        series: the column.

    Returns:
        (N,) text and (N,) bool, True where it is missing; None of a column that holds no dates.

    Example:
        >>> import pandas as pd
        >>> dates_of("seen", pd.Series(pd.to_datetime(["2026-11-28", None])))[0].tolist()
        ['2026-11-28', '']
    """
    column = _wrapped(series)
    if column is None or not _is_date(column, type(column.dtype).__name__):
        return None
    if type(column.dtype).__name__ == "Object":
        return parse_column(name, np.array([None if _no_date(c) else c.isoformat() for c in column.to_list()], object))
    times = np.asarray(column.to_numpy()).astype("datetime64[us]")
    missing = np.isnat(times)
    days = times.astype("datetime64[D]")
    whole = bool((times[~missing] == days[~missing]).all())
    return np.where(missing, "", np.datetime_as_string(days if whole else times.astype("datetime64[s]"))), missing


def levels_of(series: Any) -> tuple[str | int, ...] | None:
    """Return the categories of an ordered categorical column in their order.

    Args:
        series: the column.

    Returns:
        The categories, all text or all whole numbers; None of a column that has no such order.

    Example:
        >>> import pandas as pd
        >>> stages = pd.CategoricalDtype(["low", "mid", "high"], ordered=True)
        >>> levels_of(pd.Series(["high", "low"], dtype=stages))
        ('low', 'mid', 'high')
    """
    column = _wrapped(series)
    kind = "" if column is None else type(column.dtype).__name__
    if kind == "Enum":
        categories = list(column.dtype.categories)
    elif getattr(getattr(series, "type", None), "ordered", False):  # a dictionary of Arrow
        categories = series.unify_dictionaries().chunk(0).dictionary.to_pylist() if series.num_chunks else []
    else:
        return None
    return tuple(categories) if {type(c) for c in categories} in ({str}, {int}) else None


def _wrapped(series: Any) -> Any:
    """The column as a narwhals Series, or None of a library that narwhals does not know."""
    import narwhals

    found = narwhals.from_native(series, series_only=True, pass_through=True)
    return found if isinstance(found, narwhals.Series) else None


def _is_date(column: Any, kind: str) -> bool:
    if kind == "Object":
        present = [cell for cell in column.to_list() if not _no_date(cell)]
        return bool(present) and all(isinstance(cell, datetime.date) for cell in present)
    return kind in ("Date", "Datetime")


def _no_date(cell: Any) -> bool:
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and cell != cell)


def _as_floats(column: Any) -> Any:
    import narwhals

    return column.cast(narwhals.Float64)


def _of_integers(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers and booleans stay what they are, whatever is missing: their likelihood depends on it."""
    if not column.null_count():
        return np.asarray(column.to_numpy()), np.zeros(len(column), dtype=bool)
    missing = np.asarray(column.is_null().to_numpy(), dtype=bool)
    if missing.all():
        return np.full(len(column), np.nan), missing
    present = np.asarray(column.drop_nulls().to_numpy())
    values = np.full(len(missing), present[0], dtype=present.dtype)
    values[~missing] = present
    return values, missing


def _of_lists(name: str, column: Any) -> tuple[np.ndarray, np.ndarray]:
    """(N, F) values of a column of lists; a null is a missing row."""
    missing = np.asarray(column.is_null().to_numpy(), dtype=bool)
    present = column.drop_nulls()
    if not len(present):
        return np.full(len(missing), np.nan), missing
    try:
        arrow = present.to_arrow()
    except ImportError:
        return _of_array(name, np.array([None if gap else row for gap, row in zip(missing, column.to_list())], object))
    arrow = arrow.combine_chunks() if hasattr(arrow, "combine_chunks") else arrow
    inner = np.asarray(arrow.flatten().to_numpy(zero_copy_only=False))
    if inner.dtype == object:
        return _of_array(name, np.array([None if gap else row for gap, row in zip(missing, column.to_list())], object))
    if hasattr(arrow, "offsets"):
        _check_lengths(name, np.diff(np.asarray(arrow.offsets)), np.flatnonzero(~missing))
    return _spread(inner.reshape(len(present), -1), missing), missing


def _of_array(name: str, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, text, or objects that are all of one kind; lists of numbers of one length become rows."""
    if column.ndim != 1:
        raise DataError(f"DataFrame: column {name!r} has shape {column.shape}; give one value per row.")
    if column.dtype != object:
        return parse_column(name, column)
    if any(isinstance(cell, decimal.Decimal) for cell in column):
        column = np.array([float(cell) if isinstance(cell, decimal.Decimal) else cell for cell in column], object)
    rows = [cell for cell in column if isinstance(cell, (list, tuple, np.ndarray))]
    if not rows:
        return parse_column(name, column)
    missing = np.array([not isinstance(cell, (list, tuple, np.ndarray)) for cell in column])
    if any(cell is not None and cell == cell for cell in column[missing]):
        raise DataError(f"{name!r}, row {int(missing.argmax())}: lists and single values are mixed; give lists alone.")
    _check_lengths(name, np.array([len(row) for row in rows]), np.flatnonzero(~missing))
    try:
        values = np.array([[np.nan if cell is None else cell for cell in row] for row in rows])
    except ValueError:
        raise DataError(f"{name!r} is ragged: its lists differ in shape; pad them to one shape.") from None
    return _spread(values, missing), missing


def _check_lengths(name: str, lengths: np.ndarray, rows: np.ndarray) -> None:
    other = np.flatnonzero(lengths != lengths[0])
    if len(other):
        at = int(other[0])
        raise DataError(
            f"{name!r}, row {int(rows[at])}: a list of {int(lengths[at])} where row {int(rows[0])} has "
            f"{int(lengths[0])}; give all rows as many, or null."
        )


def _spread(present: np.ndarray, missing: np.ndarray) -> np.ndarray:
    if not missing.any():
        return present
    filler = np.nan if present.dtype.kind == "f" else present.reshape(-1)[0] if present.size else 0
    values = np.full((len(missing), *present.shape[1:]), filler, dtype=present.dtype)
    values[~missing] = present
    return values
