"""The reader of tables written as text: .csv, .tsv and .txt, packed by gzip or not."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....base.memory import check_room
from ....errors import DataError
from ....modalities.likelihoods.registry import LIKELIHOODS
from ....modalities.modality import Modality
from ...annotations import WORD
from ...examine.finding import Finding, listed
from ...examine.report import TOLD, UNSEEN
from ...schema.grouping.column_names import legal_name, owners
from ...schema.infer import is_label_name
from ...splits import GROUP
from ..cells import NOTHING
from ..manifest.files import with_files
from ..npz import no_such_file
from ..parts.files import errors_naming
from ..registry import Arrays, Request, reader
from .frame import arranged, told_of_dates
from .text.column import Column, Expected
from .text.dialect import Dialect, dialect_of, records
from .text.encoding import text_of

SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
CELLS = 2**16  # read at once
NAMES_ID = re.compile(r"(?:.*[_ .-]|.*[a-z](?=I))?(?:id|ID|Id)")
INDEX = "\0index"  # the name of a column of row names, which no header can have
REPEATED = (
    "{0}: it repeats, so it is an input as any other; where it names persons with several rows, --as {0}=group keeps "
    "their rows together, and --as {0}=ignore leaves it out."
)
Cells = dict[str, tuple[np.ndarray, np.ndarray]]  # column → its values and which of them are missing
COUNTED = 8  # rows from which on a first column of 0, 1, 2, … is no chance
OF_COLUMN = 4_000  # bytes that are kept of each column while it is read


@reader("csv")
class CsvReader:
    """Tables with a header whose cells are parted by commas, semicolons, tabs or bars."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is the path of such a file, by its suffix."""
        if not isinstance(source, (str, os.PathLike)):
            return False
        name = Path(source).name.lower().removesuffix(".gz")
        return name.endswith(SUFFIXES) and ("/" in str(source) or ":" not in str(source))

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return the columns of the table as arrays.

        Raises:
            DataError: see `read_csv`.
        """
        path = Path(source)
        if path.parent.is_dir() and not os.path.lexists(path):
            raise no_such_file(path)
        with errors_naming(path):
            return with_files(read_csv(path, request), path, request)


def read_csv(path: Path, request: Request = Request()) -> Arrays:
    """Read a table that is written as text.

    The delimiter, the encoding and the decimal sign of each column are found out. Columns `modality:feature` become one
    array, as in a DataFrame. An empty cell is missing, and in columns of numbers so are words such as NA. Columns of
    true and false (or yes and no) become bool, and columns of dates annotations. The rows are named by a column `id`,
    by the only column whose name ends so and whose values differ, or by a first column that has no name or counts them.

    Args:
        path: the path of the file.
        request: what the caller of `mmppl.read` asks for.

    Returns:
        The arrays by name, with masks where cells are missing that no NaN can mark.

    Raises:
        DataError: the file is no such table; the message names the line and the column.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "doses.csv"
        >>> file.write_text("id;dose;sex\\na;1,5;f\\nb;;m\\n", encoding="utf-8")
        25
        >>> found = read_csv(file)
        >>> found.arrays["dose"], found.arrays["id"]
        (array([1.5, nan]), array(['a', 'b'], dtype='<U1'))
    """
    text, guess = text_of(path)
    dialect = dialect_of(text, str(path), tabs=path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")))
    check_room(len(dialect.header) * OF_COLUMN + 4 * len(text), f"{path}: its text")
    columns = _columns(dialect, path, request)
    rows = _look(text, dialect, path, columns)
    told = [Finding("table", "", f"read as {guess}; write it as UTF-8 if letters are wrong.")] if guess else []
    kept = {at: column for at, column in columns.items() if column.name or column.present or at == 0}
    for at, column in columns.items():
        if not column.name and at in kept and at:
            raise DataError(f"{path}, column {at + 1}: it has values and no name; write one into the header.")
    guessed = _guessed_id(list(kept.values()), request)
    if guessed is not None:
        guessed.expected = "classes"
    signs = {sign for column in kept.values() if (sign := _decimal(column))}
    decimal = signs.pop() if len(signs) == 1 else None
    notes: dict[str, list[str]] = {}
    for column in kept.values():
        if note := column.decide(decimal):
            notes.setdefault(note, []).append(column.name)
    cells = _values(text, dialect, path, kept, rows)
    cells, ids, more = _with_ids(cells, rows, guessed, request)
    told += more
    told += [Finding("table", of[0].partition(":")[0], f"{listed(of)}: {note}.") for note, of in notes.items()]
    told += [*_told_of_words(kept.values(), ids), *_told_of_unread(kept.values(), request.schema or ())]
    dates = [column.name for column in kept.values() if column.kind == "dates" and ":" not in column.name]
    wanted = {name for name, how in request.as_.items() if how != "annotation"} | _known(request)
    dropped = [name for name in dates if name not in wanted and cells[name][1].any()]
    dates = [name for name in dates if name not in wanted and name not in dropped]
    arrays, features = arranged({name: cell for name, cell in cells.items() if name not in dropped})
    arrays |= {name: NOTHING for name in request.ignored if name in {c.partition(":")[0] for c in dialect.header}}
    told += told_of_dates(dates, dropped)
    return Arrays(arrays, path.name, features, annotations=dates, told=told, table=True)


def _columns(dialect: Dialect, path: Path, request: Request) -> dict[int, Column]:
    """The columns by their places, without those that are ignored."""
    names = [*([INDEX] if dialect.row_names else []), *dialect.header]
    if not dialect.row_names and not names[0]:
        names[0] = INDEX
    twice = next((name for name, count in Counter(names).items() if count > 1 and name), None)
    if twice is not None:
        places = [str(at + 1) for at, name in enumerate(names) if name == twice]
        raise DataError(
            f"{path}, line 1: columns {' and '.join(places)} are both called {twice!r}; rename one of them."
        )
    owner = owners(names, request.as_, request.schema)
    missing = {m.name: m.missing for m in request.schema or () if m.missing} | dict(request.missing)
    missing |= {m.event: m.event_missing for m in request.schema or () if m.event and m.event_missing}
    columns = {}
    for at, name in enumerate(names):
        own = owner.get(name, name)
        if {name, own, name.partition(":")[0]} & request.ignored:
            continue
        words = next((missing[key] for key in (name, own) if key in missing), None)
        columns[at] = Column(
            name, own, str(path), _expected(name, own, request), None if words is None else frozenset(map(str, words)),
            label=name in request.target if request.target is not None else is_label_name(name),
            lenient=_numbers_of_run(own, request),
        )  # fmt: skip
    return columns


def _expected(name: str, owner: str, request: Request) -> Expected | None:
    """What a column must be, as a run or the user says."""
    if name in ("id", INDEX):
        return "classes"
    for m in request.schema or ():
        if m.name == owner:
            return "text" if m.classes is not None and isinstance(m.classes[0], str) else "numbers"
    how = request.as_.get(name, request.as_.get(legal_name(name), "")).partition(":")[0]
    if how in LIKELIHOODS:
        return "classes" if LIKELIHOODS[how].values == "classes" else "numbers"
    return "classes" if how in ("id", GROUP) else "anything" if how == WORD else None


def _numbers_of_run(owner: str, request: Request) -> bool:
    """Say whether a run knows a modality of numbers: a text in it makes its cell missing, and is told."""
    schema = request.schema or ()
    return any(m.name == owner and not (m.classes and isinstance(m.classes[0], str)) for m in schema)


def _known(request: Request) -> set[str]:
    return {m.name for m in request.schema or ()}


def _look(text: str, dialect: Dialect, path: Path, columns: Mapping[int, Column]) -> int:
    """Let every column see its cells, and return the number of rows."""
    rows = 0
    for lines, cells in _parts(text, dialect, path):
        rows += len(lines)
        for at, column in columns.items():
            column.look(cells[at], lines)
    if not rows:
        raise DataError(f"{path}: a header without rows; give a table with a row for each sample.")
    return rows


def _parts(text: str, dialect: Dialect, path: Path) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Go through some rows at a time: the numbers of their lines, and the cells of each column."""
    width = len(dialect.header) + dialect.row_names
    step = max(64, CELLS // width)
    lines: list[int] = []
    rows: list[list[str]] = []
    blanks = " " in text or "\t" in text or "\xa0" in text
    for line, cells in records(text, dialect, str(path)):
        if len(cells) != width:
            raise DataError(
                f"{path}, line {line}: {len(cells):,} cells where the header has {len(dialect.header):,}; correct the "
                "line, and put cells with the delimiter in them into quotes."
            )
        lines.append(line)
        rows.append(cells)
        if len(rows) == step:
            yield lines, [list(map(str.strip, column)) if blanks else list(column) for column in zip(*rows)]
            lines, rows = [], []
    if rows:
        yield lines, [list(map(str.strip, column)) if blanks else list(column) for column in zip(*rows)]


def _values(text: str, dialect: Dialect, path: Path, columns: Mapping[int, Column], rows: int) -> Cells:
    check_room(16 * rows * len(columns), f"{path}: its numbers")
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {column.name: [] for column in columns.values()}
    for _, cells in _parts(text, dialect, path):
        for at, column in columns.items():
            parts[column.name].append(column.values(cells[at]))
    return {name: tuple(map(np.concatenate, zip(*of))) for name, of in parts.items()}  # type: ignore[misc]


def _decimal(column: Column) -> str:
    """The decimal sign that a column shows beyond doubt, or ""."""
    forms = column.forms()
    return "," if forms & {"comma", "thousands."} else "." if forms & {"point", "thousands,"} else ""


def _guessed_id(columns: Sequence[Column], request: Request) -> Column | None:
    """The only column whose name says that it names the rows, unless the user or a run says what it is."""
    taken = {*request.as_, *(request.target or ()), *_known(request)}
    free = [column for column in columns if column.name not in taken and NAMES_ID.fullmatch(column.name)]
    certain = any(column.name == "id" or request.as_.get(column.name) == "id" for column in columns)
    return free[0] if len(free) == 1 and not certain and free[0].counts["missing"] == 0 else None


def _with_ids(
    cells: Cells, rows: int, guessed: Column | None, request: Request
) -> tuple[Cells, str | None, list[Finding]]:
    """Call the column that names the rows `id`, and drop row numbers. Returns that column, too."""
    index = cells.pop(INDEX, None)
    if index is not None and np.array_equal(index[0], np.arange(rows)):
        index = None
    said = next((name for name in cells if request.as_.get(name) == "id"), "id")
    if said in cells:
        return {("id" if name == said else name): of for name, of in cells.items()}, said, []
    if index is not None:
        return {"id": index, **cells}, INDEX, []
    if guessed is None or guessed.name not in cells:
        first = next(iter(cells), "")
        aside = {*request.as_, *(request.target or ()), *_known(request)}
        if ":" in first or first in aside or "id" in cells or not _counts_rows(*cells[first]):
            return cells, None, []
        text = f"{first}: counts the rows, and so names them; --as {first}=normal makes an input of it."
        told = Finding("table", "id", text)
        return {("id" if name == first else name): of for name, of in cells.items()}, first, [told]
    name = guessed.name
    if len(np.unique(cells[name][0])) < rows:
        return cells, None, [Finding("table", name, REPEATED.format(name), suspected=True)]
    told = Finding("table", "id", f"{name}: names the rows; --as {name}=normal makes an input of it.")
    return {("id" if column == name else column): of for column, of in cells.items()}, name, [told]


def _counts_rows(values: np.ndarray, missing: np.ndarray) -> bool:
    """Whether a column is 0, 1, 2, … or 1, 2, 3, …, as an index that was written with a name of its own."""
    if values.dtype.kind not in "iu" or len(values) < COUNTED or missing.any() or values[0] not in (0, 1):
        return False
    return bool((np.diff(values) == 1).all())


def _told_of_unread(columns: Iterable[Column], schema: Iterable[Modality]) -> list[Finding]:
    """Tell the texts among what a run knows as numbers, which stop only questions about them, or where encoders of the
    run see gaps, none."""
    told, gaps = [], {m.name for m in schema if m.gaps}
    for column in columns:
        rows = sorted((row, text) for text, of in column.unread.items() for row in of)
        if rows and column.kind != "truth":
            words = [(row, f"{column.place}, column {column.name!r}, row {row}: {text[:60]!r}") for row, text in rows]
            text = f"{words[0][1]} is no number; taken for missing in {len(rows):,} such row{'s' * (len(rows) > 1)}."
            told.append(Finding(TOLD if column.owner in gaps else UNSEEN, column.owner, text, rows=tuple(words)))
    return told


def _told_of_words(columns: Iterable[Column], ids: str | None) -> list[Finding]:
    """Tell which words were taken for missing in columns of numbers."""
    found: dict[tuple[str, ...], list[str]] = {}
    for column in columns:
        if column.kind not in ("text", "dates") and column.name != ids:
            words = tuple(sorted(word for word in column.gaps if word and word not in (column.words or ())))
            if words and column.present:
                found.setdefault(words, []).append(column.name)
    text = "{}: {} among numbers is taken for missing."
    return [
        Finding("missing", of[0].partition(":")[0], text.format(listed(of), ", ".join(map(repr, words))))
        for words, of in found.items()
    ]
