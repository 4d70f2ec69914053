"""Results as one JSON object, and the line after an interruption."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def as_json(value: Any) -> str:
    """Format a result as one JSON object on one line.

    Args:
        value: nested mappings, sequences, arrays, paths and numbers.

    Returns:
        The text; arrays become lists, and numbers that JSON does not have (NaN, infinite) become null.
    """
    text = json.dumps(_plain(value), allow_nan=False)
    return text.replace("\x7f", "\\u007f")  # the one control character that `dumps` leaves


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        return _plain(value.tolist())
    return value


def to_go_on(words: Sequence[str], option: str, folder: Path) -> str:
    """The line of an interrupted command: what was given, completed so that it finds what is done in `folder`."""
    named = any(word == option or word.startswith(f"{option}=") for word in words)
    return f"interrupted; go on with: {shlex.join(['mmppl', *words, *([] if named else [option, str(folder)])])}"
