"""A group of columns of several kinds becomes several modalities, which share the name of the group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ....errors import DataError, UsageError, suggest
from ....modalities.likelihoods.registry import LIKELIHOODS
from ....modalities.modality import Modality
from ...examine.finding import Finding
from ...examine.report import TOLD
from ...readers.tables.frame import grouped
from ..overrides import CONDITION
from .column_names import ASIDE, OTHERS, matched, names_columns, parted, said_of_each, with_quoted_addresses

NUMBERS = "numbers"  # the part, and the word, for columns of numbers of which no likelihood is named


@dataclass(frozen=True)
class Parts:
    """Arrays after mixed groups have been taken apart.

    Args:
        arrays: name → (N, *shape), with masks.
        features: name → the names of its columns.
        as_: overrides, those of groups as overrides of their parts.
        group_of: name of a part → name of its group.
        told: findings about columns that a run does not know.
    """

    arrays: dict[str, np.ndarray]
    features: dict[str, Sequence[str]]
    as_: dict[str, str]
    group_of: dict[str, str] = field(default_factory=dict)
    told: list[Finding] = field(default_factory=list)

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
    `GROUP_LIKELIHOOD`, or, where no likelihood is named (or the word "numbers"), as `GROUP_numbers`. What overrides say
    of such a part comes before what they say of its columns.

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
        DataError: a part has the name of another array, or a column has nearly the name of one that the run knows and
            the data lack.

    Example:
        >>> ages, sexes = np.array([31.0, 44.0]), np.array(["f", "m"])
        >>> found = taken_apart({"clin:age": ages, "clin:sex": sexes}, {}, {"clin": "age:normal"}, None)
        >>> found.as_, found.group_of
        ({'clin_normal': 'normal'}, {'clin_normal': 'clin', 'clin_sex': 'clin'})
    """
    groups = {*features, *(name.partition(":")[0] for name in arrays if ":" in name)}
    as_ = {name: with_quoted_addresses(text, groups) for name, text in as_.items()}
    named = _addressed(arrays, as_)
    found = Parts({name: array for name, array in arrays.items() if name not in named}, dict(features), dict(as_))
    told = {name: each for name, text in as_.items() if (each := said_of_each(name, text, arrays))}
    known = _known(found, schema or ())
    aside = {name for name, how in as_.items() if how in ASIDE}
    taken = aside | {m.name for m in schema or ()} | _twice(found, schema or ())  # of a run, other things than a part
    for group, of in [*told.items(), *known.items()]:
        _put_together(found, group, [column for column in of if column not in taken])
    for group in dict.fromkeys([*_loose(found), *told, *known]):
        columns = _columns(found, group)
        if not columns and schema is None:
            raise UsageError(f"--as {group}: there are no columns {group}:…; group them, or name a likelihood.")
        for column in told.get(group, {}):
            if column not in columns and schema is None:
                raise UsageError(f"--as {group}: it has no column {column!r}; it has {', '.join(columns)}.")
        if group in known:
            _leave_out_unknown(found, group, columns, known[group])
        elif group in told and as_.get(OTHERS) == "ignore":
            columns = {column: cells for column, cells in columns.items() if column in told[group]}
        said = found.as_.pop(group, None)
        parts: dict[str, list[str]] = {}
        for column, (values, _) in columns.items():
            how = told.get(group, {}).get(column)
            part = known.get(group, {}).get(column) or _part(group, column, values, how)
            parts.setdefault(part, []).append(column)
            if group not in told and said is not None:
                found.as_.setdefault(part, _of_all(group, said))
            elif how not in (None, NUMBERS):
                found.as_[part] = as_.get(part, how)
        for part, names in parts.items():
            if part in found.arrays:
                raise DataError(f"{part!r} is an array, and also a part of the group {group!r}; rename one of them.")
            _join(found, part, names, columns)
            if part != group:
                found.group_of[part] = group
    found.arrays.update((name, arrays[name]) for name in arrays if name in named)
    return found


def _addressed(arrays: Mapping[str, object], as_: Mapping[str, str]) -> set[str]:
    """The arrays called `GROUP:COLUMN`, and their masks, of which overrides say something by that very name."""
    columns = [name for name in arrays if ":" in name and not name.startswith("mask_")]
    named = {column for column in columns if column in as_}
    for name, text in as_.items():
        if columns and names_columns(text, arrays) and not said_of_each(name, text, arrays):
            named.update(matched(name, [one for one in parted(text)[0] if ":" in one], columns, strict=False))
    return named | {f"mask_{name}" for name in named}


def _of_all(group: str, said: str) -> str:
    """What an override says of all columns of a group."""
    if said.partition(":")[0] not in (*LIKELIHOODS, *ASIDE, CONDITION):
        raise UsageError(
            f"--as {group}: {said!r} is not COLUMN:LIKELIHOOD,…, which columns of several kinds need, nor a likelihood "
            "for all of them."
        )
    return said


def _loose(found: Parts) -> list[str]:
    """The groups of which a reader could not put the columns together."""
    columns = [name for name in found.arrays if ":" in name and not name.startswith("mask_")]
    return [*dict.fromkeys(name.partition(":")[0] for name in columns)]


def _known(found: Parts, schema: Sequence[Modality]) -> dict[str, dict[str, str]]:
    """Group → column → part, of the mixed groups of a run, and of those of one kind that are mixed in these data."""
    known: dict[str, dict[str, str]] = {}
    loose = {*_loose(found)}
    for m in schema:
        if m.group or (m.features and m.name in loose):
            known.setdefault(m.group or m.name, {}).update(dict.fromkeys(m.features or (), m.name))
    return known


def _twice(found: Parts, schema: Sequence[Modality]) -> set[str]:
    """Names of columns that several modalities of a run have, of which a plain column may be either."""
    absent = [m for m in schema if not {m.name, m.group} & {*found.arrays}]
    names = [feature for m in absent for feature in m.features or ()]
    return {name for name, count in Counter(names).items() if count > 1}


def _leave_out_unknown(
    found: Parts, group: str, columns: dict[str, tuple[np.ndarray, np.ndarray | None]], known: Collection[str]
) -> None:
    """Take out the columns of a group that a run does not know, and tell."""
    absent = [column for column in known if column not in columns]
    for column in [column for column in columns if column not in known]:
        if near := suggest(column, absent):
            raise DataError(f"'{group}:{column}' is not in the run.{near} Rename it, or leave it out.")
        found.told.append(Finding(TOLD, group, f"{group}:{column}: is not in the run, and left out."))
        del columns[column]


def _put_together(found: Parts, group: str, columns: Collection[str]) -> None:
    """Name plain columns of a group as its columns."""
    for column in columns:
        if group not in found.arrays and column in found.arrays and f"{group}:{column}" not in found.arrays:
            for before in ("", "mask_"):
                if before + column in found.arrays:
                    found.arrays[f"{before}{group}:{column}"] = found.arrays.pop(before + column)


def _part(group: str, column: str, values: np.ndarray, how: str | None) -> str:
    if how in (None, NUMBERS):
        return f"{group}_{column if values.dtype.kind == 'U' else NUMBERS}"
    likelihood = str(how).partition(":")[0]
    family = LIKELIHOODS.get(likelihood)
    apart = family is None or family.values == "classes" or family.kind or ":" in str(how)
    return f"{group}_{column if apart else likelihood}"


def _columns(found: Parts, group: str) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Take the columns of a group out of the arrays: name → values and mask."""
    columns: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
    if group in found.features and group in found.arrays:
        array, mask = found.arrays.pop(group), found.arrays.pop(f"mask_{group}", None)
        names = found.features.pop(group)
        if mask is not None and mask.shape not in (array.shape, array.shape[:1]):
            raise DataError(
                f"'mask_{group}' has shape {mask.shape}; give one value per row, {array.shape[:1]}, or per cell, "
                f"{array.shape}."
            )
        columns = {
            name: (array[:, i], mask if mask is None or mask.ndim == 1 else mask[:, i]) for i, name in enumerate(names)
        }
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
    if all(value.dtype.kind == "U" for value in values) and any(mask is not None for mask in masks):
        gaps = [np.zeros(len(v), bool) if mask is None else ~mask.astype(bool) for v, mask in zip(values, masks)]
        found.arrays[part], missing = grouped(part, list(zip(values, gaps)))
        found.arrays[f"mask_{part}"] = ~missing
        return
    found.arrays[part] = np.stack(
        [v if mask is None else np.where(mask.astype(bool), v, np.nan) for v, mask in zip(values, masks)], -1
    )
