"""Reading JSON that anybody may have written."""

from __future__ import annotations

import json
import re
from typing import Any

CONTAINERS = 100_000  # lists and objects in one text: each takes more memory than its two characters let expect
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')


def parse_json(data: bytes) -> Any:
    """Parse strict JSON: UTF-8, each key once, no NaN and no infinite numbers, not nested without end.

    Args:
        data: the text.

    Returns:
        What `json.loads` returns.

    Raises:
        ValueError: the text is something else.

    Example:
        >>> parse_json(b'{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ...
        ValueError: 'a' stands there twice
    """
    opened = data.count(b"[") + data.count(b"{")
    if opened > CONTAINERS and len(re.findall(rb"[\[{]", TEXT.sub(b"", data))) > CONTAINERS:
        raise ValueError("it has too many parts")
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text:.20} is no finite number")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name[:40]!r} stands there twice")
        found[name] = value
    return found
