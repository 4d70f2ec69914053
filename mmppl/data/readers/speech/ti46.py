"""The reader of TI46 (LDC93S9; Doddington & Schalk 1981, "Speech recognition: turning theory to practice")."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ..registry import Arrays, Request, reader
from .corpus import Spoken, holds_corpus, read_corpus

# 00f1set0.wav for training, 00f1s1t0.wav for the test: word (00 to 09 are the digits), speaker, session
FILE = re.compile(r"(?:.*/)?(?P<word>[a-z0-9]{2})(?P<speaker>[fm]\d)s(?:(?P<train>et\d)|\dt\d)\.\w+")


@reader("ti46")
class TI46Reader:
    """A folder or .zip of TI46, or of a part of it, in SPHERE or wav files."""

    def accepts(self, source: Any) -> bool:
        """Say whether the source is a folder or .zip with files that are named as in TI46."""
        return holds_corpus(source, parse_ti46)

    def read(self, source: str | os.PathLike[str], request: Request) -> Arrays:
        """Return MFCC, labels and speakers of the digits; letters and commands are left out.

        Raises:
            DataError: see `read_corpus`.
        """
        return read_corpus(Path(source), parse_ti46, request.schema, corpus="TI46 (00f1set0.wav)")


def parse_ti46(name: str) -> Spoken | None:
    """Parse the name of a file.

    Args:
        name: the name, with or without folders, in either case.

    Returns:
        What it says, or None if it is not named so.
    """
    found = FILE.fullmatch(name.lower())
    if found is None:
        return None
    digit = int(found["word"]) if re.fullmatch(r"0\d", found["word"]) else None
    return Spoken(digit, found["speaker"], "train" if found["train"] else "test")
