"""Values of annotated types: what callers write, also as text, read as the type that a signature asks for."""

from __future__ import annotations

import inspect
import math
import types
import typing
from pathlib import Path
from typing import Any

from ..errors import suggest


def not_of(kind: Any, value: Any) -> str:
    """What is wrong with a value that is not of a type, to follow "name=value is"."""
    if typing.get_origin(kind) is typing.Literal:
        words = [str(word) for word in typing.get_args(kind)]
        return f"none of {', '.join(words)}.{suggest(str(value), words)}"
    return f"no {in_words(kind).replace('float', 'finite float')}."


def in_words(kind: Any) -> str:
    """An annotation as one would write it."""
    return inspect.formatannotation(kind).replace("typing.", "")


def readable(kind: Any) -> bool:
    """Whether `as_type` knows a type, and the types of its parts."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType, tuple, list):
        return bool(arguments) and all(readable(one) for one in arguments if one is not Ellipsis)
    return origin is typing.Literal or kind in (bool, int, float, str, Path, types.NoneType)


def as_type(value: Any, kind: Any) -> Any:
    """Read a value as a type.

    Args:
        value: of that type already, or a text that says it.
        kind: bool, int, float, str, None, a path, Literal[...], or a tuple, list or union of these.
    Raises:
        TypeError: it is no value of that type.
        ValueError: the same.
        KeyError: the same.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        for one in sorted(arguments, key=lambda a: a in (str, Path)):  # last, since they take anything
            try:
                return as_type(value, one)
            except (TypeError, ValueError, KeyError):
                continue
        raise ValueError(value)
    if kind is type(None):
        if value is None or str(value).lower() in ("none", "null", ""):
            return None
        raise ValueError(value)
    if origin is typing.Literal:
        return {str(word): word for word in arguments}[str(value)]
    if origin in (tuple, list):
        parts = [p for p in value.split(",") if p] if isinstance(value, str) else list(value)
        any_length = origin is list or arguments[-1] is Ellipsis
        items = [arguments[0]] * len(parts) if any_length else arguments
        return origin(as_type(part, item) for part, item in zip(parts, items, strict=True))
    if kind is bool:
        if isinstance(value, bool):
            return value
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]
    if kind in (int, float):
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
            raise ValueError(value)
        number = kind(value)
        if kind is float and not math.isfinite(number):
            raise ValueError(value)
        return number
    return Path(value) if kind is Path else str(value)
