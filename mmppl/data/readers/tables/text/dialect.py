"""How the cells of a text table are told apart, and its header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .....errors import DataError

DELIMITERS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
SAMPLE = 2**16  # characters that tell the delimiter
LONGEST = 2**20  # characters of a cell, more than the widest string that is read
NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
SIGN = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # how Excel is told the delimiter


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Args:
        delimiter: the sign between cells.
        header: the names of the columns, without blanks around them; "" for a column without a name.
        skipped: lines before the header.
        row_names: whether the rows have a cell more than the header, as R writes it: their names.
    """

    delimiter: str
    header: tuple[str, ...]
    skipped: int = 0
    row_names: bool = False


def dialect_of(text: str, place: str, tabs: bool = False) -> Dialect:
    """Find out the dialect of a table: the delimiter by which the header and the first rows have equally many cells.

    Args:
        text: the text of the file.
        place: the path, for messages.
        tabs: whether tabs are expected, as in a .tsv.

    Returns:
        The dialect.

    Raises:
        DataError: there is no header, or no delimiter that could be meant.

    Example:
        >>> dialect_of("id;dose\\na;1,5\\nb;2,5\\n", "x.csv").delimiter
        ';'
    """
    found = SIGN.match(text)
    start = found.end() if found else 0
    begun = max(start + SAMPLE, text.find("\n", text.find("\n", start) + 1) + 1)  # a header may be longer
    sample = text[start:begun]
    if begun < len(text):
        sample = sample[: sample.rfind("\n") + 1] or sample
    if not sample.strip():
        raise DataError(f"{place}: the file is empty; give a table with a header.")
    order = [found[1]] if found else ["\t", *DELIMITERS] if tabs else list(DELIMITERS)
    first = sample.lstrip().partition("\n")[0]
    scored: list[tuple[float, int, int, str, list[str], bool]] = []
    for delimiter in dict.fromkeys(order):
        if delimiter not in first:
            continue
        header, *rows = _sampled(sample, delimiter)
        fit = [row for row in rows if len(row) == len(header)]
        named = [row for row in rows if len(row) == len(header) + 1]
        share = max(len(fit), len(named)) / max(1, len(rows))
        scored.append((share, len(header), -len(scored), delimiter, header, len(named) > len(fit)))
    if not scored:
        return _single(sample, place, 1 if found else 0)
    _, _, _, delimiter, header, row_names = max(scored)
    _check_header(header, place)
    return Dialect(delimiter, tuple(header), 1 if found else 0, row_names)


def records(text: str, dialect: Dialect, place: str) -> Iterator[tuple[int, list[str]]]:
    """Go through the rows of a table, without the header and blank lines.

    Args:
        text: the text of the file.
        dialect: its dialect.
        place: the path, for messages.

    Yields:
        The number of the last line of the row, counted from 1, and its cells.

    Raises:
        DataError: a quote is not closed or a cell is too long.
    """
    lines = io.StringIO(text, newline=None)
    for _ in range(dialect.skipped):
        next(lines)
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    reader = csv.reader(lines, delimiter=dialect.delimiter, strict=True)
    header = True
    try:
        for cells in reader:
            if not cells:
                continue
            if not header:
                yield reader.line_num + dialect.skipped, cells
            header = False
    except csv.Error as error:
        line = reader.line_num + dialect.skipped
        what = (
            "a quote is opened and not closed" if "end of data" in str(error) or "limit" in str(error) else str(error)
        )
        raise DataError(f"{place}, line {line}: {what}; close the quotes, or leave them out.") from None


def _sampled(sample: str, delimiter: str) -> list[list[str]]:
    """The first rows, of which the last may be cut off within quotes."""
    rows = []
    try:
        for row in csv.reader(io.StringIO(sample, newline=None), delimiter=delimiter):
            if row:
                rows.append([cell.strip() for cell in row])
    except csv.Error:
        pass
    return rows[:200] or [[]]


def _single(sample: str, place: str, skipped: int) -> Dialect:
    """A table of one column, unless blanks are meant to part its cells."""
    rows = _sampled(sample, ",")
    widths = {len(row[0].split()) for row in rows if row}
    if len(widths) == 1 and widths != {1} and len(rows) > 1:
        raise DataError(
            f"{place}: the header has no {', '.join(DELIMITERS.values())}; part the cells by one of these, not by "
            "blanks."
        )
    _check_header(rows[0], place)
    return Dialect(",", tuple(rows[0]), skipped)


def _check_header(header: Sequence[str], place: str) -> None:
    """Refuse a first line of numbers, which is no header unless it counts the columns."""
    if not all(NUMBER.fullmatch(cell) for cell in header):
        return
    for start in (0, 1):
        if list(header) == [str(start + at) for at in range(len(header))] and len(header) > 1:
            return
    raise DataError(f"{place}, line 1: numbers where the names of the columns belong; write a header above them.")
