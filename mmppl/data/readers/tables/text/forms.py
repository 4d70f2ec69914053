"""The forms of single cells: numbers as people and programs write them, dates, truth values, words for "missing"."""

from __future__ import annotations

import re

# Possessive quantifiers: what fails, fails at once, however long the cell.
WHOLES = re.compile(r"(?:(?:[+-]?+(?:0|[1-9]\d*+))?+\n)*+")
NUMBERS_ALONE = re.compile(r"(?:(?:[+-]?+(?:(?:0|[1-9]\d*+)(?:\.\d*+)?+|\.\d++)(?:[eE][+-]?+\d++)?+)?+\n)*+")
POINTS3 = re.compile(r"(?:(?:[+-]?+(?:[1-9]\d{0,2}\.\d{3}|0|[1-9]\d*+))?+\n)*+")
FORMS = (
    ("whole", r"[+-]?(?:0|[1-9]\d*)"),
    ("zeros", r"[+-]?0\d+"),
    ("point3", r"[+-]?[1-9]\d{0,2}\.\d{3}"),  # 1.234: a German thousand, perhaps
    ("point", r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"),
    ("comma3", r"[+-]?[1-9]\d{0,2},\d{3}"),  # 1,234: a decimal comma, or an English thousand
    ("comma", r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?"),
    ("thousands,", r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?"),
    ("thousands.", r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?"),
    ("spaces", r"[+-]?[1-9]\d{0,2}(?:[ '’\u00a0\u2009\u202f]\d{3})+(?:[.,]\d+)?"),
    ("date", r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"),
    ("date", r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}(?: \d{1,2}:\d{2}(?::\d{2})?)?"),
    ("date", r"\d{1,2}[-. ](?:[A-Za-z]{3,9})[-. ]\d{2,4}"),
)
FORM = re.compile("|".join(f"({pattern})" for _, pattern in FORMS))
NUMBERS = frozenset(("whole", "zeros", "point3", "point", "comma3", "comma", "thousands,", "thousands.", "spaces"))
MINUS = "\u2212"  # a typographic minus
FIRST = f"+-.,{MINUS}"  # with what a number may begin beside a digit
_WRITTEN = dict.fromkeys(map(ord, " '’\u00a0\u2009\u202f%")) | {ord(MINUS): "-"}
PLAIN = {".": {**_WRITTEN, ord(","): None}, ",": {**_WRITTEN, ord("."): None, ord(","): "."}}
TRUTH = {"true": True, "false": False, "yes": True, "no": False}
MISSING = frozenset((
    "", "na", "n/a", "n.a.", "nan", "null", "none", "<na>", "#n/a", "nat", ".", "-", "--", "?", "–", "—",
))  # fmt: skip


def form_of(cell: str) -> str:
    """Return the form of a cell.

    Args:
        cell: its text, without blanks around it.

    Returns:
        One of `NUMBERS`, such a name with "%" behind it, "date", "truth", "missing" or "text".

    Example:
        >>> [form_of(cell) for cell in ("12", "1,5", "1,234", "1.234,5", "12 %", "007", "NA", "yes", "T1")]
        ['whole', 'comma', 'comma3', 'thousands.', 'whole%', 'zeros', 'missing', 'truth', 'text']
    """
    lower = cell.lower()
    if lower in MISSING:
        return "missing"
    if lower in TRUTH:
        return "truth"
    if not cell[0].isdecimal() and cell[0] not in FIRST:
        return "text"
    cell = cell.replace(MINUS, "-")
    bare = cell[:-1].rstrip() if cell.endswith("%") else cell
    found = FORM.fullmatch(bare)
    if found is None:
        return "text"
    name = FORMS[(found.lastindex or 1) - 1][0]
    return name if bare is cell else f"{name}%" if name != "date" else "text"


def plain(cell: str, decimal: str) -> str:
    """Write a number as Python reads it.

    Args:
        cell: a cell of one of the forms of numbers.
        decimal: its decimal sign, "." or ",".

    Returns:
        The number without thousands separators and percent sign, with a decimal point.

    Example:
        >>> plain("1.234,5 %", ","), plain("1 234", ".")
        ('1234.5', '1234')
    """
    return cell.translate(PLAIN[decimal])
