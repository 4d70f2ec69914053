"""A comparison as tables: for a terminal, in Markdown, and one line for each number as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...base.text import columns, number, printable, size_in_words
from ..conditioning import set_name
from .ranking import Answered, Entry

if TYPE_CHECKING:
    from .comparison import Comparison

MOST = 3  # measures beside each other on a terminal
MAX_WARNINGS = 3  # of each entrant that are told
HEAD = (
    "given", "want", "measure", "decides", "rows", "name", "kind", "rank", "value", "difference", "se", "df", "se_rows",
    "not_different", "fit_seconds", "ms_per_row", "memory_bytes",
)  # fmt: skip


def text(found: Comparison) -> str:
    """Format a comparison for a terminal.

    Args:
        found: the comparison.

    Returns:
        A summary, a table for each conditioning set, and the notes.
    """
    parts = [_title(found), columns(_summary(found))]
    for given in _sets(found):
        shown = [one for one in found.answered if one.question.given == given]
        parts.append(f"given {printable(set_name(given))}: {_rows_of(shown)}")
        for first in range(0, len(shown), MOST):
            parts.append(columns(_table(shown[first : first + MOST], _order(shown), str)))
    return "\n\n".join([*parts, "\n".join(map(printable, lines_below(found)))])


def markdown(found: Comparison) -> str:
    """Format a comparison as Markdown.

    Args:
        found: the comparison.

    Returns:
        A summary, a table for each conditioning set with the best of each column in bold, and the notes.
    """
    parts = [f"# {_escaped(_title(found))}", _grid(_summary(found))]
    for given in _sets(found):
        shown = [one for one in found.answered if one.question.given == given]
        table = _table(shown, _order(shown), "**{}**".format)
        parts += [f"## given {_escaped(set_name(given))}", _rows_of(shown), _grid(table)]
    lines = "\n".join(f"- {_escaped(line)}" for line in lines_below(found))
    return "\n\n".join([*parts, lines]) + "\n"


def csv_table(found: Comparison) -> str:
    """Format a comparison as CSV: one line for each question, measure and entrant.

    Args:
        found: the comparison.

    Returns:
        The text, with a header.
    """
    file, entrants = io.StringIO(), {entrant.name: entrant for entrant in found.entrants}
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEAD)
    for one in found.answered:
        for entry in one.entries:
            entrant = entrants[entry.name]
            ms = None if entrant.per_row is None else 1e3 * entrant.per_row
            writer.writerow(
                [set_name(one.question.given), one.question.target, one.measure.title, one.decides, one.n, entry.name,
                 entrant.kind, entry.rank, entry.value, entry.difference, entry.se, entry.df, entry.se_rows, entry.ties,
                 entrant.seconds, ms, entrant.memory]
            )  # fmt: skip
    return file.getvalue()


def lines_below(found: Comparison) -> list[str]:
    """List what stands below the tables: notes, the failed, and warnings of each entrant in short."""
    lines = list(found.notes)
    lines += [f"{name} failed: {why}" for name, why in found.failed.items()]
    for entrant in found.entrants:
        lines += [f"{entrant.name}: {warning}" for warning in entrant.warnings[:MAX_WARNINGS]]
        more = len(entrant.warnings) - MAX_WARNINGS
        if more > 0:
            lines.append(f"{entrant.name}: and {more} more warning{'s' if more > 1 else ''} (--json has all)")
    return lines


def _title(found: Comparison) -> str:
    if found.folds is not None:
        how = f"{found.folds} folds"
    else:
        how = f"{len(found.seeds)} seeds" if len(found.seeds) > 1 else "one fit each"
    return f"{printable(found.data)}: {found.tested:,} rows tested, {how}"


def _summary(found: Comparison) -> list[list[str]]:
    ranks, best = found.mean_ranks, found.times_best
    rows = [["", "mean rank", "best or ≈", "fit s", "ms/row", "memory"]]
    order = sorted(found.entrants, key=lambda entrant: (entrant.kind == "baseline", ranks.get(entrant.name) or 0))
    for entrant in order:
        times, of = best.get(entrant.name, (0, 0))
        per_row = None if entrant.per_row is None else 1e3 * entrant.per_row
        memory = "-" if entrant.memory is None else size_in_words(entrant.memory)
        mean = ranks.get(entrant.name)
        numbers = [number(mean), f"{times} of {of}", number(entrant.seconds), number(per_row), memory]
        rows.append([entrant.name, *numbers])
    return rows


def _order(shown: Sequence[Answered]) -> list[str]:
    """The entrants by their mean ranks on some questions."""
    ranks: dict[str, list[float]] = {}
    for one in shown:
        for entry in one.entries if one.decides else ():
            ranks.setdefault(entry.name, []).append(entry.rank)
    return sorted(ranks, key=lambda name: sum(ranks[name]) / len(ranks[name]))


def _table(shown: Sequence[Answered], order: Sequence[str], bold: Callable[[str], str]) -> list[list[str]]:
    """A row for each entrant, and a column for each measure."""
    rows = [["", *(f"{one.measure.title} of {one.question.target}" for one in shown)]]
    for name in order:
        cells = [next((_cell(one, e, bold) for e in one.entries if e.name == name), "") for one in shown]
        rows.append([name, *cells])
    return rows


def _cell(one: Answered, entry: Entry, bold: Callable[[str], str]) -> str:
    share = one.measure.share
    value = f"{entry.value:.2%}" if share else number(entry.value)
    if entry is one.entries[0]:
        return bold(value)
    factor = 100 if share else 1
    around = ", not judged" if entry.se is None else f" ± {_short(factor * entry.se)}"
    return f"{value} (+{_short(factor * entry.difference)}{around}){' ≈' if entry.ties else ''}"


def _short(value: float) -> str:
    """Two digits, or all before the point."""
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"


def _sets(found: Comparison) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(one.question.given for one in found.answered))


def _rows_of(shown: Sequence[Answered]) -> str:
    numbers = sorted({one.n for one in shown})
    return f"{numbers[0]:,} rows" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,} rows"


def _grid(rows: Sequence[Sequence[str]]) -> str:
    head, *others = [[_escaped(cell) for cell in row] for row in rows]
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *others]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _escaped(cell: str) -> str:
    """Text in which no name ends a cell or becomes a tag."""
    return printable(cell).replace("|", r"\|").replace("<", "&lt;")
