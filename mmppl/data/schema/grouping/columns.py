"""Columns become modalities: those that the user groups, those that a run knows as features, and the many columns of
numbers of a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....errors import DataError, UsageError
from ....modalities.array_facts import FEW
from ....modalities.modality import Modality
from ....modalities.subsets import MAX_MODALITIES
from ...examine.finding import Finding, listed
from ...readers.tables.frame import grouped
from ...splits import GROUP
from ..events import events_of
from ..infer import is_label_name
from ..overrides import parse_overrides
from .column_names import ID, OTHERS, legal_name, matched, names_columns, parted

TABLE = "table"  # the modality of the many columns of numbers of a table that names no modalities
PREFIXES = ("mask_", "length_")


@dataclass(frozen=True)
class Columns:
    """Named arrays on their way to modalities.

    Args:
        arrays: name → (N, *shape), with masks.
        features: name → the names of its columns.
        as_: name → what the user says about it, without what is done here.
        missing: name → the values that stand for "missing".
        target: the names of the labels, or None.
        declared: name → the text of `as_` that is done here and that other data of a run need.
        told: findings about what was done.
    """

    arrays: dict[str, np.ndarray]
    features: dict[str, tuple[str, ...]] = field(default_factory=dict)
    as_: dict[str, str] = field(default_factory=dict)
    missing: dict[str, Sequence[Any]] = field(default_factory=dict)
    target: tuple[str, ...] | None = None
    declared: dict[str, str] = field(default_factory=dict)
    told: tuple[Finding, ...] = ()

    @property
    def plain(self) -> list[str]:
        """The names of the arrays of one column that could be part of a modality."""
        aside = {"id", "split", *(name for name, how in self.as_.items() if how == "ignore")}
        return [
            name
            for name, array in self.arrays.items()
            if array.ndim == 1 and name not in aside and not name.startswith(PREFIXES) and name not in self.features
        ]


def with_columns(
    arrays: Mapping[str, np.ndarray],
    features: Mapping[str, Sequence[str]],
    as_: Mapping[str, str],
    *,
    missing: Mapping[str, Sequence[Any]] = {},
    target: Collection[str] | None = None,
    schema: Sequence[Modality] | None = None,
    table: bool = False,
) -> Columns:
    """Make modalities of columns.

    Args:
        arrays: name → (N, *shape), with masks.
        features: name → the names of its columns.
        as_: name → what the user says: "crp,alb*" makes one modality of columns, "crp,alb:normal:scale=1" also says
            what it is, and "id" that a column names the rows. The name "*" stands for all that is not named.
        missing: name → the values that stand for "missing".
        target: the names of the labels, or None.
        schema: the modalities of a run; columns called as its features are put together.
        table: whether the columns are those of a table that names no modalities: where there would be more than
            `MAX_MODALITIES`, its columns of numbers become one, and names that no modality can have are changed.

    Returns:
        The arrays of the modalities.

    Raises:
        UsageError: a column is not there, or is named twice.
        DataError: the columns of a modality mix numbers and text.

    Example:
        >>> arrays = {"crp": np.array([1.5, 3.0]), "alb": np.array([40.0, np.nan]), "age": np.array([31, 64])}
        >>> found = with_columns(arrays, {}, {"lab": "crp,alb", "age": "normal"})
        >>> list(found.arrays), found.features, found.as_
        (['lab', 'age'], {'lab': ('crp', 'alb')}, {'age': 'normal'})
    """
    found = Columns(
        dict(arrays), {name: tuple(of) for name, of in features.items()}, dict(as_), dict(missing),
        None if target is None else tuple(target),
    )  # fmt: skip
    found = _with_ids(found)
    groups = {name: how for name, how in found.as_.items() if names_columns(how, {**found.arrays, **_addresses(found)})}
    found = dataclasses.replace(found, as_={name: how for name, how in found.as_.items() if name not in groups})
    taken: dict[str, str] = {}
    for name, how in groups.items():
        found = _grouped(found, name, how, taken, strict=schema is None)
    if schema is not None:
        found = _as_the_run(found, schema)
    elif table:
        found = _many_numbers(found)
    if table:
        found = _renamed(found, schema)
    return _others(found, schema)


def _with_ids(found: Columns) -> Columns:
    """Give the column that the user says names the rows that name."""
    named = [name for name, how in found.as_.items() if how == ID]
    here = [name for name in named if name in found.arrays and name != "id"]
    if len(here) > 1 or (here and "id" in found.arrays):
        raise UsageError(f"--as {here[-1]}=id: there are other ids; name one column.")
    new = dict.fromkeys(here, "id") | {f"mask_{name}": "mask_id" for name in here}
    arrays = {new.get(name, name): array for name, array in found.arrays.items()}
    as_ = {name: how for name, how in found.as_.items() if how != ID}
    return dataclasses.replace(found, arrays=arrays, as_=as_, declared={**found.declared, **dict.fromkeys(named, ID)})


def _addresses(found: Columns) -> dict[str, tuple[str, int]]:
    """modality:feature → the array and the place of the column in it."""
    return {f"{name}:{column}": (name, at) for name, of in found.features.items() for at, column in enumerate(of)}


def _grouped(found: Columns, name: str, how: str, taken: dict[str, str], strict: bool) -> Columns:
    """Make one modality of the columns that `how` names."""
    patterns, rest = parted(how)
    inside = _addresses(found)
    plain = found.plain
    own = [f"{name}:{pattern}" for pattern in patterns]  # of an array, its features
    patterns = [full if full in inside and part not in plain else part for part, full in zip(patterns, own)]
    for column in patterns:
        if column in taken:
            raise UsageError(f"--as {name}: {column!r} is in {taken[column]} already; name it once.")
    columns = matched(name, patterns, [*plain, *inside], strict=strict)
    as_ = {**found.as_, name: rest} if rest else found.as_
    declared = {**found.declared, name: how}
    if not columns:  # of another file, which need not have them
        return dataclasses.replace(found, as_=as_, declared=declared)
    for column in columns:
        if column in found.as_ or column in found.missing or column in (found.target or ()):
            option = "as" if column in found.as_ else "missing" if column in found.missing else "target"
            raise UsageError(f"--{option} {column}: it is a column of {name}; say it of {name}, or leave it out there.")
        taken[column] = name
    leaves = {inside[column][0] for column in columns if column in inside}
    if name in found.arrays and name not in leaves and name not in columns:
        raise UsageError(f"--as {name}: there is an array of that name already; choose another name.")
    whole = [f"{leaf}:{of}" for leaf in leaves for of in found.features[leaf]]
    if leaves == {name} and columns == whole:  # as the header says
        return dataclasses.replace(found, as_=as_, declared=declared)
    rows = len(found.arrays[columns[0] if columns[0] in plain else inside[columns[0]][0]])
    cells = [_cells(found, *inside[c]) if c in inside and c not in plain else _cells(found, c) for c in columns]
    features = tuple(c.partition(":")[2] if c in inside and inside[c][0] == name else c for c in columns)
    return dataclasses.replace(
        _joined(_without(found, columns, inside), name, features, cells, columns, rows), as_=as_, declared=declared
    )


def _cells(found: Columns, name: str, at: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The values of a column and which of them are missing."""
    array = found.arrays[name] if at is None else found.arrays[name][:, at]
    mask = found.arrays.get(f"mask_{name}")
    missing = np.zeros(len(array), dtype=bool) if mask is None else ~mask.astype(bool)
    return array, missing | np.isnan(array) if array.dtype.kind == "f" else missing


def _without(found: Columns, columns: Sequence[str], inside: Mapping[str, tuple[str, int]]) -> Columns:
    """Take columns out of the arrays that have others beside them; arrays that lose all stay as a place."""
    arrays, features = dict(found.arrays), dict(found.features)
    for leaf in {inside[column][0] for column in columns if column in inside}:
        left = [at for at, of in enumerate(features[leaf]) if f"{leaf}:{of}" not in columns]
        features[leaf] = tuple(features[leaf][at] for at in left)
        arrays[leaf] = np.take(arrays[leaf], left, 1)
    return dataclasses.replace(found, arrays=arrays, features=features)


def _joined(
    found: Columns, name: str, features: tuple[str, ...], cells: list[tuple[np.ndarray, np.ndarray]],
    columns: Collection[str], rows: int,
) -> Columns:  # fmt: skip
    """Put a modality where the first of its columns was."""
    for column, (values, _) in zip(columns, cells):
        if len(values) != rows:
            raise DataError(
                f"{column!r} has {len(values):,} rows, and {name} {rows:,}; give one row per sample in each."
            )
    values, missing = grouped(name, cells)
    gone = {*columns, *(f"mask_{column}" for column in columns)}
    arrays: dict[str, np.ndarray] = {}
    empty = {leaf for leaf, of in found.features.items() if not of}
    for key, array in found.arrays.items():
        if (key in gone or key in empty) and name not in arrays:
            arrays[name] = values
            if missing.any() and values.dtype.kind != "f":
                arrays[f"mask_{name}"] = ~missing
        if key not in gone and key not in empty and key != name:
            arrays[key] = array
    if name not in arrays:
        arrays[name] = values
    kept = {leaf: of for leaf, of in found.features.items() if of}
    return dataclasses.replace(found, arrays=arrays, features={**kept, name: features})


def _as_the_run(found: Columns, schema: Sequence[Modality]) -> Columns:
    """Put together the columns that a run knows as the features of a modality."""
    named = {m.name for m in schema}
    of = [feature for m in schema if m.name not in found.arrays for feature in m.features or ()]
    twice = {feature for feature in of if of.count(feature) > 1} if len(set(of)) < len(of) else set()
    for m in schema:
        if m.name in found.arrays or not m.features:
            continue
        plain = {*found.plain} - named - twice
        columns = [feature for feature in m.features if feature in plain]
        if columns:
            cells = [_cells(found, column) for column in columns]
            found = _joined(found, m.name, tuple(columns), cells, columns, len(cells[0][0]))
    return found


def _many_numbers(found: Columns) -> Columns:
    """Make one modality of the columns of numbers of a table that would have too many modalities."""
    special = {GROUP, *found.as_, *found.missing, *(found.target or ())}
    inputs = [name for name in found.plain if name not in special]
    if len(inputs) + len(found.features) <= MAX_MODALITIES:
        return found
    several = [name for name in inputs if _is_number(found, name) and not is_label_name(name)]
    if len(several) < 2:
        return found
    name = TABLE if TABLE not in found.arrays else f"{TABLE}_of_numbers"
    cells = [_cells(found, column) for column in several]
    found = _joined(found, name, tuple(several), cells, several, len(cells[0][0]))
    text = (
        f"{name}: {listed(several)}, columns of numbers, are taken together, because more than {MAX_MODALITIES} "
        f"modalities are too many; --as 'NAME=COLUMN,COLUMN,…' groups them otherwise."
    )
    return dataclasses.replace(found, told=(*found.told, Finding("table", name, text)))


def _is_number(found: Columns, name: str) -> bool:
    """Say whether a column holds numbers that are no codes of classes."""
    values, missing = _cells(found, name)
    if values.dtype.kind == "f":
        return not missing.all()
    return values.dtype.kind in "iu" and len(np.unique(values[~missing])) > FEW


def _renamed(found: Columns, schema: Sequence[Modality] | None) -> Columns:
    """Change names of columns that no modality can have."""
    named = {m.name for m in schema or ()}
    new: dict[str, str] = {}
    for name in found.arrays:
        if name in ("id", "split", GROUP) or name.startswith(PREFIXES):
            continue
        legal = legal_name(name)
        if legal != name and name not in named:
            if legal in found.arrays or legal in new.values():
                raise DataError(f"{name!r} cannot be the name of a modality, and {legal} is taken; rename the column.")
            new[name] = legal
    if not new:
        return found
    both = new | {f"{prefix}{name}": f"{prefix}{legal}" for name, legal in new.items() for prefix in PREFIXES}
    shown = listed([f"{name!r} {legal}" for name, legal in new.items()])
    text = f"called otherwise here, because a modality cannot be called so: {shown}."
    return dataclasses.replace(
        found,
        arrays={both.get(name, name): array for name, array in found.arrays.items()},
        features={new.get(name, name): of for name, of in found.features.items()},
        as_={new.get(name, name): how for name, how in found.as_.items()},
        missing={new.get(name, name): of for name, of in found.missing.items()},
        target=None if found.target is None else tuple(new.get(name, name) for name in found.target),
        told=(*found.told, Finding("table", next(iter(new.values())), text)),
    )


def _others(found: Columns, schema: Sequence[Modality] | None) -> Columns:
    """Apply what is said of all arrays that are not named. A run leaves out what it does not know anyway."""
    if OTHERS not in found.as_:
        return found
    as_ = {name: how for name, how in found.as_.items() if name != OTHERS}
    declared = {**found.declared, OTHERS: found.as_[OTHERS]}
    if schema is None:
        events = events_of(parse_overrides(as_), None).values()  # a survival time needs its own
        named = {*as_, *events, *found.declared, *(found.target or ()), "id", "split", GROUP}
        left = [name for name in found.arrays if name not in named and not name.startswith(PREFIXES)]
        as_ |= dict.fromkeys(left, found.as_[OTHERS])
    return dataclasses.replace(found, as_=as_, declared=declared)
