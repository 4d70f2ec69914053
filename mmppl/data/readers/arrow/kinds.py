"""What a column of a table is: numbers, texts or times, one per row or a list of them, from its type in Arrow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ....errors import DataError

DIGITS = 18  # of a decimal number that fits into 64 bits


@dataclass(frozen=True)
class Kind:
    """What a column is.

    Args:
        what: what its values are; "nothing" for a column that is empty by its type.
        dtype: the type of numbers; bool for anything else.
        depth: 0 for one value per row; 1 for a list of values; 2 for a list of lists; and so on.
        tensor: the shape that a list of fixed size has by its type; () if the type says none.
        order: the order in which the axes of `tensor` are meant; () for the order that they have.
    """

    what: Literal["numbers", "texts", "times", "nothing"]
    dtype: np.dtype = np.dtype(bool)
    depth: int = 0
    tensor: tuple[int, ...] = ()
    order: tuple[int, ...] = ()


def kind_of(place: str, type_: Any) -> Kind:
    """Return what a column of a type is.

    Args:
        place: file and column, for messages.
        type_: the type in Arrow; that of a dictionary is the type of its values.

    Returns:
        The kind.

    Raises:
        DataError: it is neither numbers nor texts nor times, nor lists of numbers or texts.
    """
    from pyarrow import types

    tensor: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    if hasattr(type_, "storage_type"):  # a type of somebody's own, which says how its values are stored
        if type_.extension_name == "arrow.fixed_shape_tensor":
            tensor, order = tuple(type_.shape), tuple(type_.permutation or ())
        type_ = type_.storage_type
    depth = 0
    while _is_list(type_):
        type_, depth = type_.value_type, depth + 1
    if types.is_dictionary(type_):
        type_ = type_.value_type
    if types.is_null(type_):
        return Kind("nothing")
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return Kind("texts", depth=depth)
    if types.is_boolean(type_) or types.is_integer(type_) or types.is_floating(type_):
        return Kind("numbers", np.dtype(type_.to_pandas_dtype()), depth, tensor, order)
    if types.is_decimal(type_):
        whole = type_.scale <= 0 and type_.precision - type_.scale <= DIGITS
        return Kind("numbers", np.dtype(np.int64 if whole else np.float64), depth)
    if not depth and (types.is_timestamp(type_) or types.is_date(type_) or types.is_time(type_)):
        return Kind("times")
    raise DataError(
        f"{place} is {str(type_)[:60]}{' in lists' if depth else ''}; store numbers or texts, or leave the column out "
        "(--as NAME=ignore)."
    )


def joined_kinds(place: str, first: Kind, second: Kind) -> Kind:
    """Return what a column is that two files have.

    Args:
        place: the second file and the column, for messages.
        first: what it is in files before.
        second: what it is in the second file.

    Returns:
        The kind that has the values of both.

    Raises:
        DataError: there is none.
    """
    if "nothing" in (first.what, second.what):
        return second if first.what == "nothing" else first
    alike = (first.what, first.depth, first.tensor, first.order) == (
        second.what, second.depth, second.tensor, second.order,
    )  # fmt: skip
    if not alike:
        raise DataError(f"{place} is {_in_words(second)}, and {_in_words(first)} in files before; make it one of them.")
    return Kind(first.what, np.result_type(first.dtype, second.dtype), first.depth, first.tensor, first.order)


def plain(column: Any, kind: Kind) -> Any:
    """Return the values of a column as a plain array of Arrow: without extension, dictionary and decimals.

    Args:
        column: an array of Arrow, no lists.
        kind: its kind.

    Returns:
        An array of numbers, or of large strings.
    """
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kind.what in ("texts", "times"):
        return column.cast(pyarrow.large_string())
    if pyarrow.types.is_decimal(column.type):
        return column.cast(pyarrow.from_numpy_dtype(kind.dtype))
    return column


def numbers_in(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of a plain array of Arrow.

    Args:
        column: an array of bool, whole numbers or floats.

    Returns:
        (n,) numbers of its type, NaN or 0 where one is null; and (n,) bool, True where one is null.
    """
    import pyarrow

    missing = column.is_null().to_numpy(zero_copy_only=False)
    if pyarrow.types.is_null(column.type):
        return np.zeros(len(column), bool), missing
    if pyarrow.types.is_boolean(column.type):
        return column.cast(pyarrow.uint8()).fill_null(0).to_numpy(zero_copy_only=False).astype(bool), missing
    if column.null_count and not pyarrow.types.is_floating(column.type):
        column = column.fill_null(0)
    return column.to_numpy(zero_copy_only=False), missing


def _is_list(type_: Any) -> bool:
    from pyarrow import types

    tests = (
        types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view,
    )  # fmt: skip
    return any(test(type_) for test in tests)


def _in_words(kind: Kind) -> str:
    what = f"numbers ({kind.dtype})" if kind.what == "numbers" else kind.what
    return what + (f" in lists {kind.depth} deep" if kind.depth > 1 else " in lists" if kind.depth else "")
