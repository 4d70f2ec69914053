"""Arrays that come in parts, each with its train, valid and test rows, become arrays of all rows and a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....base.disk.maps import empty_like, is_mapped, row_blocks
from ....errors import DataError
from ...splits import PART_OF, PARTS


def joined_parts(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Join arrays that come in parts (X_train, X_test, y_train, y_test, or train_X etc.) into X, y and `split`.

    Arrays count as parts only if all of them are named so, every name has the same parts, train is one of them, and
    their shapes and types agree. A part may be called val, dev or validation. A name may lack valid or test, as labels
    of test rows often do, where the parts differ in length, so that they cannot be other columns of the same rows: it
    is missing there (`mask_<name>`).

    Args:
        arrays: the arrays by name.

    Returns:
        The joined arrays, or `arrays` unchanged if they are no parts.

    Example:
        >>> joined = joined_parts({"x_train": np.array([1, 2]), "x_val": np.array([3])})
        >>> joined["x"].tolist(), joined["split"].tolist()
        ([1, 2, 3], ['train', 'train', 'valid'])
        >>> joined = joined_parts({"x_train": np.array([1, 2]), "x_test": np.array([3]), "y_train": np.array([0, 1])})
        >>> joined["mask_y"].tolist()
        [True, True, False]
    """
    places = {key: place_of(key) for key in arrays}
    names = dict.fromkeys(name for name, _ in places.values())
    parts = [part for part in PARTS if any(place[1] == part for place in places.values())]
    if "train" not in parts or len(parts) < 2 or len({*places.values()}) < len(arrays):
        return arrays
    if not all(names) or any(array.ndim == 0 for array in arrays.values()):
        return arrays
    found = _filled({places[key]: array for key, array in arrays.items()}, parts)
    if found is None:
        return arrays
    of_name = {name: [found[name, part] for part in parts] for name in dict.fromkeys(name for name, _ in found)}
    lengths = {tuple(len(array) for array in of) for of in of_name.values()}
    alike = all(len({(array.shape[1:], array.dtype.kind) for array in of}) == 1 for of in of_name.values())
    if len(lengths) > 1 or not alike:
        return arrays
    split = np.repeat(np.array(parts), lengths.pop())
    return {name: _stacked(of) for name, of in of_name.items()} | {"split": split}


def _filled(
    found: Mapping[tuple[str, str], np.ndarray], parts: Sequence[str]
) -> dict[tuple[str, str], np.ndarray] | None:
    """Put fillers and masks in place of the parts that names lack; None where that cannot be what is meant."""
    names = dict.fromkeys(name for name, _ in found)
    if len(found) == len(names) * len(parts):
        return dict(found)
    whole = [name for name in names if all((name, part) in found for part in parts)]
    lengths = {part: {len(array) for (_, of), array in found.items() if of == part} for part in parts}
    sizes = {part: of.pop() for part, of in lengths.items() if len(of) == 1}
    if not whole or len(sizes) < len(parts) or len({*sizes.values()}) < 2:
        return None
    filled = dict(found)
    for name in (name for name in names if name not in whole):
        special = name == "id" or name.startswith(("mask_", "length_")) or f"mask_{name}" in names
        if special or (name, "train") not in found or not sizes["train"]:
            return None
        first = found[name, "train"][:1]
        for part in parts:
            there = (name, part) in found
            filled[f"mask_{name}", part] = np.full(sizes[part], there)
            if not there:
                filled[name, part] = np.broadcast_to(first, (sizes[part], *first.shape[1:]))
    return filled


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
    """The rows of all parts, in a file if the first part lies in one."""
    if not is_mapped(parts[0]):
        return np.concatenate(parts)
    whole = empty_like(parts[0], (sum(map(len, parts)), *parts[0].shape[1:]), np.result_type(*parts))
    start = 0
    for part in parts:
        for rows in row_blocks(part):
            whole[start : start + len(part)][rows] = part[rows]
        start += len(part)
    return whole


def joined_columns(features: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Join the names of the columns of parts that `joined_parts` has joined by the places of their columns.

    Args:
        features: x_train etc. → the names of its columns, for parts that have them.

    Returns:
        x → the names of its columns.

    Raises:
        DataError: two parts have other columns, or the same in another order.

    Example:
        >>> joined_columns({"x_train": ("a", "b"), "x_test": ("a", "b")})
        {'x': ('a', 'b')}
    """
    joined: dict[str, tuple[str, ...]] = {}
    first: dict[str, str] = {}
    for key, columns in features.items():
        name, _ = place_of(key)
        if joined.setdefault(name, tuple(columns)) != tuple(columns):
            raise DataError(
                f"{first[name]!r} and {key!r} differ in their columns, or in the order; give both the same."
            )
        first.setdefault(name, key)
    return joined


def place_of(key: str) -> tuple[str, str]:
    """Return the name and the part that the name of an array says, the part first or last.

    Args:
        key: the name of the array.

    Returns:
        The name and the part; "" and "" where it says no part.

    Example:
        >>> place_of("x_dev"), place_of("test_x"), place_of("x")
        (('x', 'valid'), ('x', 'test'), ('', ''))
    """
    first, _, rest = key.partition("_")
    name, _, last = key.rpartition("_")
    if last in PART_OF and name:
        return name, PART_OF[last]
    return (rest, PART_OF[first]) if first in PART_OF and rest else ("", "")
