"""One column of a text table: what its cells are, what it is taken for, and its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .....errors import DataError
from .....modalities.array_facts import FEW
from ....examine.finding import listed
from ...cells import check_width
from .forms import MISSING, NUMBERS, NUMBERS_ALONE, POINTS3, TRUTH, WHOLES, form_of, plain

DIGITS = 18  # as many always fit into 64 bits
KEPT = 1000  # different texts of a column that are remembered, for messages
SHOWN = 3
Kind = Literal["numbers", "whole", "truth", "dates", "text"]
Expected = Literal["numbers", "text", "classes", "anything"]


@dataclass
class Column:
    """What is known of one column; `look` sees its cells once, some rows at a time, and `values` makes an array of
    them.

    Args:
        name: its name in the header.
        owner: the name that options have for it: its own, or that of the modality it belongs to.
        place: the path of the file, for messages.
        expected: what it must be, as the user or a run says: "numbers", "text", "classes" (whole numbers, or else text)
            or "anything" (numbers, or else text); None if nobody says so.
        words: texts that stand for "missing", as the user or a run says; None: the usual ones.
        label: whether it is a label, whose classes keep their names.
        lenient: whether texts among numbers are missing, as in other data of a run, rather than an error.
    """

    name: str
    owner: str
    place: str
    expected: Expected | None = None
    words: frozenset[str] | None = None
    label: bool = False
    lenient: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, str]] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)
    gaps: Counter[str] = field(default_factory=Counter)
    distinct: set[str] = field(default_factory=set)
    rows: int = 0
    unread: dict[str, list[int]] = field(default_factory=dict)  # text → the rows in which it stands among numbers
    beyond: bool = False  # whether a whole number does not fit into 64 bits
    minus: bool = False  # whether a number has a typographic minus
    kind: Kind = "text"
    decimal: str = "."

    def look(self, cells: Sequence[str], lines: Sequence[int]) -> None:
        """Count the forms of some cells.

        Args:
            cells: their texts, without blanks around them.
            lines: the numbers of their lines.
        """
        joined, before = "\n".join(cells) + "\n", self.rows
        self.rows += len(cells)
        if not self.words and joined.count("\n") == len(cells) and NUMBERS_ALONE.fullmatch(joined):
            self._count_plain(cells, lines, joined)
            return
        for cell, count in Counter(cells).items():
            gone = self.words is not None and cell in self.words
            form = "missing" if gone else form_of(cell)
            if form == "missing":
                self.gaps[cell] += count
            elif form not in NUMBERS and form.rstrip("%") not in NUMBERS and len(self.texts) < KEPT:
                self.texts.setdefault(cell, lines[cells.index(cell)])
                if self.lenient:
                    self.unread.setdefault(cell, []).extend(before + at for at, it in enumerate(cells) if it == cell)
            elif form in NUMBERS:
                self.beyond |= len(cell) > DIGITS and form == "whole" and _beyond(cell)
                self.minus |= "\u2212" in cell
                if len(self.distinct) <= FEW:
                    self.distinct.add(cell)
            self.counts[form] += count
            if form not in self.first:
                self.first[form] = (lines[cells.index(cell)], cell)

    def _count_plain(self, cells: Sequence[str], lines: Sequence[int], joined: str) -> None:
        blanks = cells.count("")
        self.gaps[""] += blanks
        self.counts["missing"] += blanks
        if blanks == len(cells):
            return
        if WHOLES.fullmatch(joined):
            form = "whole"
            self.beyond |= any(len(cell) > DIGITS and _beyond(cell) for cell in cells)
        else:
            form = "point3" if POINTS3.fullmatch(joined) else "point"
        self.counts[form] += len(cells) - blanks
        if form not in self.first:
            at = next(i for i, cell in enumerate(cells) if cell)
            if form != "whole":
                at = next((i for i, cell in enumerate(cells) if form_of(cell) == form), at)
            self.first[form] = (lines[at], cells[at])
        if len(self.distinct) <= FEW:
            self.distinct |= set(cells) - {""}

    @property
    def numbers(self) -> int:
        """How many cells are numbers."""
        return sum(count for form, count in self.counts.items() if form.rstrip("%") in NUMBERS)

    @property
    def present(self) -> int:
        """How many cells are not missing."""
        return self.counts.total() - self.counts["missing"]

    def forms(self) -> set[str]:
        """The forms of its numbers, without percent signs."""
        return {form.rstrip("%") for form in self.counts if form.rstrip("%") in NUMBERS}

    def decide(self, decimal: str | None) -> str:
        """Decide what the column is, once all cells are seen.

        Args:
            decimal: the decimal sign that other columns of the file show, or None.

        Returns:
            What is to be told of it, "" if nothing.

        Raises:
            DataError: numbers and texts are mixed, or a number can be read in two ways.
        """
        counts, others = self.counts, self.present - self.numbers
        if self.expected in ("classes", "text"):
            whole = self.expected == "classes" and self.present == counts["whole"] and not self.beyond
            self.kind = "whole" if whole else "text"
            return ""
        if others and self.expected == "anything":
            return ""
        if self.lenient and others != counts["truth"]:
            return self._decide_numbers(decimal)
        if others and others == counts["truth"] and not self.numbers and not self.label:
            self.kind = "truth"
            words = {text.lower() for text in self.texts} & {"yes", "no"}
            return "yes and no, taken for true and false" if words else ""
        if others and not self.numbers:
            self.kind = "dates" if others == counts["date"] else "text"
            return ""
        if others:
            if not self._looks_like_codes():
                self._refuse_texts()
            return f"numbers and texts ({listed(list(self.texts), SHOWN)}), taken for texts"
        return self._decide_numbers(decimal)

    def _looks_like_codes(self) -> bool:
        """Few different whole numbers beside texts are codes of classes, such as the stages 1, 2, 3a and 3b."""
        few = len(self.distinct) <= min(FEW, max(2, self.numbers // 2)) or self.numbers < self.present // 2
        return few and self.forms() <= {"whole", "zeros"}

    def _refuse_texts(self) -> None:
        texts, count = list(self.texts), self.present - self.numbers
        line = self.texts[texts[0]]
        what = f"{count:,} such cells: " if count > 1 else ""
        more = f" ({what}{listed([repr(t) for t in texts], SHOWN)})" if count > 1 else ""
        named = ",".join(texts[:SHOWN])
        raise DataError(
            f"{self.place}, line {line}, column {self.name!r}: {texts[0][:60]!r} among numbers{more}; correct it, or "
            f"take it for missing, --missing '{self.owner}={named}', or the column for text, "
            f"--as {self.owner}=categorical."
        )

    def _decide_numbers(self, decimal: str | None) -> str:
        forms, told = self.forms(), []
        percent = {form.endswith("%") for form in self.counts if form.rstrip("%") in NUMBERS}
        if len(percent) > 1:
            bare, signed = (
                next(f for f in self.first if f in self._own() and f.endswith("%") == is_) for is_ in (0, 1)
            )
            self._refuse_two(bare, signed, "numbers with and without a percent sign")
        if True in percent:
            told.append("percent signs are dropped, so that 12 % is 12")
        comma = next((form for form in ("comma", "thousands.") if form in forms), None)
        point = next((form for form in ("point", "thousands,") if form in forms), None)
        if comma and point:
            self._refuse_two(self._signed(comma), self._signed(point), "decimal commas and decimal points")
        if "comma3" in forms or ("point3" in forms and (comma or (decimal == "," and not point))):
            self.decimal = self._of_three(comma, point, decimal)
        else:
            self.decimal = "," if comma else "."
        if self.decimal == ",":
            told.append("decimal commas")
        thousands = {"thousands,", "thousands.", "spaces"} | ({"comma3"} if self.decimal == "." else {"point3"} & forms)
        if (forms & thousands) - ({"point3"} if self.decimal == "." else set()):
            told.append("with separators of thousands")
        if "zeros" in forms and self.expected != "numbers":
            self.kind = "text"
            return f"numbers with leading zeros, taken for codes; --as {self.owner}=normal makes numbers of them"
        whole = forms <= {"whole", "zeros"} or (self.decimal == "." and forms <= {"whole", "comma3"})
        self.kind = "whole" if whole else "numbers"
        if whole and self.beyond:
            self.kind = "numbers" if self.expected == "numbers" else "text"
            told.append(f"whole numbers beyond 64 bits, taken for {'text' * (self.kind == 'text') or 'floats'}")
        return ", ".join(told)

    def _of_three(self, comma: str | None, point: str | None, decimal: str | None) -> str:
        """The decimal sign where 1,234 or 1.234 occur."""
        own = "," if comma else "." if point else None
        if "thousands," in self.forms() or "thousands." in self.forms():
            return "." if "thousands," in self.forms() else ","
        if own is None and decimal is None or ("point3" in self.forms() and own is None):
            form = self._signed("comma3" if "comma3" in self.forms() else "point3")
            line, cell = self.first[form]
            bare = cell.rstrip("%").rstrip()
            one, other = bare.replace(",", "").replace(".", ""), bare.replace(",", ".")
            raise DataError(
                f"{self.place}, line {line}, column {self.name!r}: {cell!r} may be {one} or {other}; write the numbers "
                "without separators of thousands and with a decimal point."
            )
        return own or decimal or "."

    def _own(self) -> list[str]:
        return [form for form in self.counts if form.rstrip("%") in NUMBERS]

    def _signed(self, form: str) -> str:
        return form if form in self.first else f"{form}%"

    def _refuse_two(self, one: str, other: str, what: str) -> None:
        (a, first), (b, second) = self.first[one], self.first[other]
        raise DataError(
            f"{self.place}, column {self.name!r}: {what} ({first!r} in line {a}, {second!r} in line {b}); write "
            "them in one way."
        )

    def values(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Make an array of some cells, once `decide` has seen all.

        Args:
            cells: their texts, without blanks around them.

        Returns:
            (n,) values, of one type for all cells of the column, and (n,) bool, True where they are missing.

        Raises:
            DataError: a number is too large, or a text too long.
        """
        if not self.present or (self.lenient and not self.numbers and self.kind == "numbers"):
            return np.full(len(cells), np.nan), np.ones(len(cells), dtype=bool)
        if self.kind in ("whole", "numbers") and self.as_written:
            try:
                if self.kind == "whole":
                    return np.fromiter(map(int, cells), np.int64, len(cells)), np.zeros(len(cells), dtype=bool)
                full = cells if "" not in cells else [cell or "nan" for cell in cells]
                floats = np.fromiter(map(float, full), np.float64, len(full))
                return self._finite(floats, cells), np.isnan(floats)
            except ValueError:
                pass  # words for "missing"
        gone = [self._gone(cell) for cell in cells]
        missing = np.array(gone, dtype=bool)
        if self.kind in ("text", "dates"):
            kept = ["" if gap else cell for cell, gap in zip(cells, gone)]
            check_width(self.name, max(map(len, kept)), len(kept))
            return np.array(kept), missing
        if self.kind == "truth":
            return np.array([_truth(cell) for cell in cells]), missing
        bare = [cell if self.as_written else plain(cell, self.decimal) for cell in cells]
        if self.kind == "whole":
            return np.array([0 if gap else int(cell) for cell, gap in zip(bare, gone)], np.int64), missing
        floats = np.array([np.nan if gap else float(cell) for cell, gap in zip(bare, gone)])
        return self._finite(floats, cells), missing

    def _gone(self, cell: str) -> bool:
        if not cell or (self.words is not None and cell in self.words):
            return True
        if self.kind in ("text", "dates"):
            return False
        return cell.lower() in MISSING or (cell in self.unread)

    def _finite(self, floats: np.ndarray, cells: Sequence[str]) -> np.ndarray:
        if np.isinf(floats).any():
            cell = cells[int(np.isinf(floats).argmax())][:60]
            raise DataError(f"{self.place}, column {self.name!r}: {cell!r} is too large for a number; correct it.")
        return floats

    @property
    def as_written(self) -> bool:
        """Whether Python reads its numbers as they are written."""
        signs = any(form.endswith("%") for form in self.counts)
        return (
            not signs
            and self.decimal == "."
            and self.forms() <= {"whole", "zeros", "point", "point3"}
            and (not self.minus)
        )


def _beyond(cell: str) -> bool:
    return not -(2**63) <= int(cell) < 2**63


def _truth(cell: str) -> bool:
    lower = cell.lower()
    return TRUTH.get(lower, False) or lower == "1"
