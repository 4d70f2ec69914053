"""The rows of one or several files of a table as arrays by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ....errors import DataError
from ..cells import NOTHING, with_masks
from ..registry import Arrays, Request
from ..tables.frame import told_of_dates
from ..tables.ordered import one_order, orders_of
from .columns import INDEX, Column, columns_of, modalities_in
from .files import TableFile
from .flat import Flat
from .lists import Lists
from .row_names import Index, index_of

Gatherer = Flat | Lists


def read_tables(files: Sequence[TableFile], request: Request, *, name: str, place: Path | str) -> Arrays:
    """Read the columns of files that hold the rows of one table, one file after the other.

    Columns `modality:feature`, and the fields of records, become one (N, features) array. A list becomes an array
    (N, length, …), or a sequence with `length_<name>` where lengths differ. Null is missing. Groups that mix numbers
    and texts stay apart, as `group:column`. Times become texts, which no program sees, where every row has one. Classes
    in an order are ordinal. Without a column `id`, the index that pandas has written becomes the ids of rows.

    Args:
        files: the files, which have the same columns.
        request: what the caller of `mmppl.read` asks for.
        name: the name of the data set.
        place: the file or folder, for messages.

    Returns:
        The arrays by name.

    Raises:
        DataError: a file is damaged, files differ in their columns, columns repeat or clash, or a column has a type or
            form that no array can have.
    """
    index = _index(files, place)
    groups: dict[str, list[Column]] = {}
    for column in _apart_where_mixed(columns_of(files, index, request.ignored)):
        groups.setdefault(column.name, []).append(column)
    gatherers = {key: _gatherer(f"{place}: {key.lstrip(INDEX)!r}", group, files) for key, group in groups.items()}
    _gather(files, groups, gatherers)
    shapeless = {m.name for m in request.schema or ()}  # an empty column of what a run knows has the run's shape
    arrays = {key: NOTHING for file in files for key in modalities_in(file, index) if key in request.ignored}
    gaps: dict[str, np.ndarray] = {}
    features, times, notes = {}, [], []
    dropped, levels = [], {}
    wanted = {*request.as_, *shapeless}
    for key, group in groups.items():
        gatherer = gatherers.pop(key)  # so that what it has gathered is freed where it is copied
        if isinstance(gatherer, Lists):
            values, missing, lengths = gatherer.finished()
            if values.ndim == 1 and key in shapeless:
                continue
            if lengths is not None:
                arrays[f"length_{key}"] = lengths
            elif values.ndim > 1 and (empty := int((gatherer.lengths == 0).sum())):
                notes.append(f"{key}: {empty:,} empty lists among those of one length are missing rows")
        else:
            values, missing = gatherer.finished()
            lacking = group[0].kind.what == "times" and missing is not None and bool(missing.any())
            if lacking and key not in wanted and not key.startswith(INDEX):
                dropped.append(key)
                continue
            if order := one_order([*gatherer.orders]):
                levels[key] = order
            elif gatherer.orders:
                notes.append(f"{key}: its parts order the classes differently; --as {key}=ordinal:order=… says how")
        arrays[key] = values
        gaps |= {} if missing is None else {key: missing}
        if group[0].feature is not None:
            features[key] = tuple(str(column.feature) for column in group)
        elif group[0].kind.what == "times" and values.dtype.kind == "U" and not key.startswith(INDEX):
            _check_filled(f"{place}: {key!r}", key, missing)
            times.append(key)
            notes.append(f"{key}: times, kept as an annotation that no program sees")
    rows = sum(file.rows for file in files)
    return Arrays(
        _with_ids(with_masks(arrays, gaps), index, rows), name, features, times, notes, orders_of(levels), levels,
        told_of_dates([], dropped), table=True,
    )  # fmt: skip


def _apart_where_mixed(columns: Sequence[Column]) -> list[Column]:
    """Let the columns of groups that mix numbers and texts stand for themselves; the schema takes such groups apart."""
    found: dict[str, set[str]] = {}
    for column in columns:
        if column.feature is not None:
            found.setdefault(column.name, set()).add("lists" if column.kind.depth else column.kind.what)
    mixed = {name for name, whats in found.items() if whats - {"nothing"} == {"numbers", "texts"}}
    return [
        dataclasses.replace(column, name=f"{column.name}:{column.feature}", feature=None)
        if column.name in mixed and column.feature is not None
        else column
        for column in columns
    ]


def _index(files: Sequence[TableFile], place: Path | str) -> Index:
    """Return the index of the rows; row numbers where every file counts its own."""
    found = [index_of(file.schema.metadata, file.schema.names) for file in files]
    if len({one.columns for one in found}) > 1:
        raise DataError(f"{place}: its parts have the index in different columns; write all with the same one.")
    return found[0] if len(files) == 1 or found[0].columns else Index()


def _gatherer(place: str, group: Sequence[Column], files: Sequence[TableFile]) -> Gatherer:
    rows = sum(file.rows for file in files)
    single = group[0].feature is None
    kinds = [column.kind for column in group]
    if single:
        return Lists(place, kinds[0], rows) if kinds[0].depth else Flat(place, kinds, rows, single=True)
    for column in group:
        if column.kind.depth or column.kind.what == "times":
            what = "times" if column.kind.what == "times" else "lists"
            raise DataError(f"{place}: {column.feature!r} holds {what}, and so cannot be part of a group; rename it.")
    return Flat(place, kinds, rows, single=False)


def _gather(
    files: Sequence[TableFile], groups: Mapping[str, Sequence[Column]], gatherers: Mapping[str, Gatherer]
) -> None:
    """Go through all files once, and put the rows of each batch into their places."""
    wanted = list(dict.fromkeys(column.source for group in groups.values() for column in group))
    at = end = 0
    for file in files:
        end += file.rows
        for batch in file.batches(wanted):
            if at + batch.num_rows > end:
                break
            for key, group in groups.items():
                gatherer = gatherers[key]
                for which, column in enumerate(group):
                    if isinstance(gatherer, Lists):
                        gatherer.put(at, column.of(batch))
                    else:
                        gatherer.put(at, which, column.of(batch))
            at += batch.num_rows
        if at != end:
            raise DataError(f"{file.path}: does not have the {file.rows:,} rows that it says; write it again.")


def _check_filled(place: str, name: str, missing: np.ndarray | None) -> None:
    if missing is not None and missing.any():
        row = int(missing.argmax())
        raise DataError(f"{place}, row {row} has no time; fill it, or leave the column out (--as {name}=ignore).")


def _with_ids(arrays: dict[str, np.ndarray], index: Index, rows: int) -> dict[str, np.ndarray]:
    """Take the columns of the index out of the arrays, and make ids of them."""
    kept = {name: array for name, array in arrays.items() if INDEX not in name}
    labels = [array for name, array in arrays.items() if name.startswith(INDEX)]
    if "id" in kept:
        return kept
    if len(labels) > 1:
        return kept | {"id": np.array([str(row) for row in zip(*(label.tolist() for label in labels))])}
    if labels:
        gaps = [array for name, array in arrays.items() if name.startswith(f"mask_{INDEX}")]
        masks = {"mask_id": gaps[0]} if gaps else {}
        plain = labels[0].dtype.kind in "iuU"
        return kept | {"id": labels[0] if plain else np.array([str(label) for label in labels[0].tolist()])} | masks
    if (index.start, index.step) != (0, 1):
        return kept | {"id": index.start + index.step * np.arange(rows)}
    return kept
