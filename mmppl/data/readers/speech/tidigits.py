"""The reader of TIDIGITS (LDC93S10; Leonard 1984, "A database for speaker-independent digit recognition")."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ..registry import Arrays, Request, reader
from .corpus import Spoken, holds_corpus, read_corpus

# .../train/man/ae/1a.wav: part, group, speaker, digits (z is "zero", o is "oh") and which of two productions
FILE = re.compile(
    r"(?:(?:.*/)?(?P<part>train|test)/|.*/|)(?:man|woman|boy|girl)/(?P<speaker>[a-z]{2})/(?P<digits>[1-9zo]+)[ab]\.\w+"
)


@reader("tidigits")
class TidigitsReader:
    """A folder or .zip of TIDIGITS, or of a part of it, in SPHERE or wav files."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is a folder or .zip with files that are named as in TIDIGITS."""
        return holds_corpus(source, parse_tidigits)

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return MFCC, labels and speakers of the isolated digits; strings of several digits are left out.

        Raises:
            DataError: see `read_corpus`.
        """
        return read_corpus(Path(source), parse_tidigits, request.schema, corpus="TIDIGITS (man/ae/1a.wav)")


def parse_tidigits(name: str) -> Spoken | None:
    """Parse the name of a file; "zero" and "oh" are both the digit 0.

    Args:
        name: the name with its folders, in either case.

    Returns:
        What it says, or None if it is not named so.
    """
    found = FILE.fullmatch(name.lower())
    if found is None:
        return None
    digits = found["digits"]
    digit = None if len(digits) > 1 else 0 if digits in "zo" else int(digits)
    return Spoken(digit, found["speaker"], found["part"] or "")
