"""Which columns the files of a table have, and to which modality each belongs."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....errors import DataError
from .files import TableFile
from .kinds import Kind, joined_kinds, kind_of
from .row_names import Index, columns_in_levels

INDEX = "\0"  # begins the names of what holds the ids of rows and is no data; no name of a column has it


@dataclass(frozen=True)
class Column:
    """A column of a table, or a field of a column of records.

    Args:
        name: the name of the modality that it belongs to.
        feature: its name in the modality; None if it is one by itself.
        source: the name of the column in the files.
        field: the number of the field; None if the column holds no records.
        kind: what it is.
    """

    name: str
    feature: str | None
    source: str
    field: int | None
    kind: Kind

    def of(self, batch: Any) -> Any:
        """Return its values in a record batch, an array of Arrow."""
        column = batch.column(self.source)
        return column if self.field is None else column.flatten()[self.field]


def modalities_in(file: TableFile, index: Index) -> list[str]:
    """Return the name of the modality that each column belongs to, the index aside."""
    names = [name for name in file.schema.names if name not in index.columns]
    return [name.partition(":")[0] for name in in_one_level(file.schema.metadata, names)]


def columns_of(files: Sequence[TableFile], index: Index, ignored: Collection[str]) -> list[Column]:
    """Return the columns that files have in common.

    Args:
        files: the files, whose rows belong to one table.
        index: the index that pandas has written; its columns get names that begin with `INDEX`.
        ignored: the names of modalities that are left out.

    Returns:
        The columns, in the order of the first file.

    Raises:
        DataError: files differ in their columns, columns repeat or clash, or a type is none of an array.
    """
    found: dict[tuple[str, str | None], Column] = {}
    for number, file in enumerate(files):
        here = {(column.name, column.feature): column for column in _of_file(file, index, ignored)}
        if number and here.keys() != found.keys():
            one = next(key for key in [*found, *here] if key not in here or key not in found)
            named = ":".join(part for part in one if part is not None)
            without = files[0].path if one in here else file.path
            raise DataError(
                f"{without}: has no column {named!r}, unlike another part; write all with the same columns."
            )
        for key, column in here.items():
            if not number:
                found[key] = column
                continue
            place = f"{file.path}: {column.source!r}"
            if column.field != found[key].field:
                raise DataError(f"{place}: its fields have another order than in files before; write all alike.")
            kind = joined_kinds(place, found[key].kind, column.kind)
            found[key] = Column(column.name, column.feature, column.source, column.field, kind)
    return list(found.values())


def in_one_level(metadata: Mapping[bytes, bytes] | None, names: Sequence[str]) -> list[str]:
    """Return the names of columns as "modality:feature" where pandas has written the pairs of two levels.

    Args:
        metadata: the metadata of the schema.
        names: the names of the columns.

    Returns:
        A name for each column.
    """
    return [_joined(name) for name in names] if columns_in_levels(metadata) else list(names)


def _of_file(file: TableFile, index: Index, ignored: Collection[str]) -> Iterator[Column]:
    import pyarrow

    names = file.schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{file.path}: column {twice!r} occurs more than once; rename it.")
    forms: dict[str, str] = {}
    for field, called in zip(file.schema, in_one_level(file.schema.metadata, names)):
        place = f"{file.path}: {field.name!r}"
        if field.name in index.columns:
            if "id" not in names or "id" in index.columns:
                yield Column(INDEX + field.name, None, field.name, None, kind_of(place, field.type))
            continue
        name, colon, feature = called.partition(":")
        if name in ignored:
            continue
        records = pyarrow.types.is_struct(field.type)
        form = "records" if records else "group" if colon else "column"
        if forms.setdefault(name, form) != form:
            raise DataError(f"{file.path}: {name!r} is a column and also a group {name}:…; rename one of them.")
        if records and colon:
            raise DataError(f"{place} holds records, and so cannot be part of a group; rename it.")
        if not records:
            yield Column(name, feature if colon else None, field.name, None, kind_of(place, field.type))
            continue
        for at, inner in enumerate(field.type):
            kind = kind_of(f"{place}, field {inner.name!r},", inner.type)
            yield Column(name, inner.name, field.name, at, kind)


def _joined(name: str) -> str:
    """Return "rna:BRCA1" for the text of a pair, as pandas names the columns of two levels."""
    try:
        pair = ast.literal_eval(name)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return name
    return ":".join(map(str, pair)) if isinstance(pair, tuple) and len(pair) == 2 else name
