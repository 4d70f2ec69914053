"""A group of columns of several kinds becomes several modalities, which share the name of the group."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ....errors import DataError, UsageError
from ....modalities.likelihoods.registry import LIKELIHOODS
from ....modalities.modality import Modality
from ...annotations import WORD
from ...splits import GROUP

NUMBERS = "numbers"


@dataclass(frozen=True)
class Parts:
    """Arrays after mixed groups have been taken apart.

    Args:
        arrays: name → (N, *shape), with masks.
        features: name → the names of its columns.
        as_: overrides, those of groups as overrides of their parts.
        group_of: name of a part → name of its group.
    """

    arrays: dict[str, np.ndarray]
    features: dict[str, Sequence[str]]
    as_: dict[str, str]
    group_of: dict[str, str] = field(default_factory=dict)

    def names(self, wanted: Collection[str]) -> list[str]:
        """Replace groups by their parts."""
        parts: dict[str, list[str]] = {}
        for part, group in self.group_of.items():
            parts.setdefault(group, []).append(part)
        return [one for name in wanted for one in parts.get(name, [name])]


def taken_apart(
    arrays: Mapping[str, np.ndarray],
    features: Mapping[str, Sequence[str]],
    as_: Mapping[str, str],
    schema: Sequence[Modality] | None,
) -> Parts:
    """Take groups of columns of several kinds apart: those whose override names a likelihood for each column, as in
    `clin=age:normal,sex:bernoulli,stage:categorical`, and those that mix numbers and strings.

    Columns of classes, and survival times, become modalities `GROUP_COLUMN`. Columns of numbers stay together, as
    `GROUP_LIKELIHOOD`, or, where no likelihood is named, as `GROUP_numbers`.

    Args:
        arrays: name → (N, *shape), with masks; a column that a reader could not put together with the others of its
            group is named `GROUP:COLUMN`.
        features: name → the names of its columns.
        as_: overrides.
        schema: the modalities of a run, which say what becomes of their groups, or None.

    Returns:
        The parts; arrays without mixed groups as they are.

    Raises:
        UsageError: an override names a column that is not there.
        DataError: a part has the name of another array.

    Example:
        >>> ages, sexes = np.array([31.0, 44.0]), np.array(["f", "m"])
        >>> found = taken_apart({"clin:age": ages, "clin:sex": sexes}, {}, {"clin": "age:normal"}, None)
        >>> found.as_, found.group_of
        ({'clin_normal': 'normal'}, {'clin_normal': 'clin', 'clin_sex': 'clin'})
    """
    found = Parts(dict(arrays), dict(features), dict(as_))
    told = {name: _of_columns(text) for name, text in as_.items() if _is_mixed(name, text, arrays)}
    known: dict[str, dict[str, str]] = {}  # group → column → part
    for m in schema or ():
        if m.group:
            known.setdefault(m.group, {}).update(dict.fromkeys(m.features or (), m.name))
    for group, of in [*told.items(), *known.items()]:
        _put_together(found, group, of)
    loose = [name.partition(":")[0] for name in found.arrays if ":" in name and not name.startswith("mask_")]
    for group in dict.fromkeys([*loose, *told, *known]):
        columns = _columns(found, group)
        if not columns and schema is None:
            raise UsageError(f"--as {group}: there are no columns {group}:…; group them, or name a likelihood.")
        for column in told.get(group, {}):
            if column not in columns and schema is None:
                raise UsageError(f"--as {group}: it has no column {column!r}; it has {', '.join(columns)}.")
        found.as_.pop(group, None)
        parts: dict[str, list[str]] = {}
        for column, (values, _) in columns.items():
            how = told.get(group, {}).get(column)
            part = known.get(group, {}).get(column) or _part(group, column, values, how)
            parts.setdefault(part, []).append(column)
            if how is not None:
                found.as_[part] = how
        for part, names in parts.items():
            if part in found.arrays:
                raise DataError(f"{part!r} is an array, and also a part of the group {group!r}; rename one of them.")
            _join(found, part, names, columns)
            found.group_of[part] = group
    return found


def _is_mixed(name: str, text: str, arrays: Mapping[str, object]) -> bool:
    """Whether an override names columns, each with a likelihood of its own; a single plain column needs no group."""
    pairs = [part.partition(":") for part in text.split(",")]
    if any(not colon or "=" in column or column in (*LIKELIHOODS, "ignore", WORD, GROUP) for column, colon, _ in pairs):
        return False
    return len(pairs) > 1 or any(other == name or other.startswith(f"{name}:") for other in arrays)


def _of_columns(text: str) -> dict[str, str]:
    return {column: how for column, _, how in (part.partition(":") for part in text.split(","))}


def _put_together(found: Parts, group: str, columns: Mapping[str, str]) -> None:
    """Name plain columns of a group as its columns."""
    for column in columns:
        if group not in found.arrays and column in found.arrays and f"{group}:{column}" not in found.arrays:
            for before in ("", "mask_"):
                if before + column in found.arrays:
                    found.arrays[f"{before}{group}:{column}"] = found.arrays.pop(before + column)


def _part(group: str, column: str, values: np.ndarray, how: str | None) -> str:
    if how is None:
        return f"{group}_{column if values.dtype.kind == 'U' else NUMBERS}"
    likelihood = how.partition(":")[0]
    family = LIKELIHOODS.get(likelihood)
    apart = family is None or family.values == "classes" or family.kind or ":" in how
    return f"{group}_{column if apart else likelihood}"


def _columns(found: Parts, group: str) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Take the columns of a group out of the arrays: name → values and mask."""
    columns: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    if group in found.features and group in found.arrays:
        array, mask = found.arrays.pop(group), found.arrays.pop(f"mask_{group}", None)
        names = found.features.pop(group)
        columns = {name: (array[:, i], mask) for i, name in enumerate(names)}
    for name in [name for name in found.arrays if name.startswith(f"{group}:")]:
        values, mask = found.arrays.pop(name), found.arrays.pop(f"mask_{name}", None)
        columns[name.removeprefix(f"{group}:")] = (values, mask)
    return columns


def _join(
    found: Parts, part: str, names: Sequence[str], columns: Mapping[str, tuple[np.ndarray, np.ndarray | None]]
) -> None:
    """Put columns into one array, with NaN for masked numbers, and a mask where they are no floats."""
    found.features[part] = tuple(names)
    values, masks = [columns[name][0] for name in names], [columns[name][1] for name in names]
    if len(names) == 1:
        found.arrays[part] = values[0]
        if masks[0] is not None:
            found.arrays[f"mask_{part}"] = masks[0]
        return
    found.arrays[part] = np.stack(
        [v if mask is None else np.where(mask, v, np.nan) for v, mask in zip(values, masks)], -1
    )
