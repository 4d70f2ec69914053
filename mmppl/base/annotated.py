"""Reading values as the types that a signature annotates, from Python values or from text."""

from __future__ import annotations

import inspect
import math
import types
import typing
from pathlib import Path
from typing import Any

from ..errors import suggest


def not_of(kind: Any, value: Any) -> str:
    """Say why a value is not of a type, in words that follow "name=value is".

    Args:
        kind: the annotated type.
        value: the value that could not be read as it.

    Returns:
        The end of an error message, with the nearest word where the type is a `Literal`.
    """
    if typing.get_origin(kind) is typing.Literal:
        words = [str(word) for word in typing.get_args(kind)]
        return f"none of {', '.join(words)}.{suggest(str(value), words)}"
    return f"no {in_words(kind).replace('float', 'finite float')}."


def in_words(kind: Any) -> str:
    """Return an annotation as one would write it in source code."""
    return inspect.formatannotation(kind).replace("typing.", "")


def readable(kind: Any) -> bool:
    """Return whether `as_type` can read a type and all of its parts."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType, tuple, list):
        return bool(arguments) and all(readable(one) for one in arguments if one is not Ellipsis)
    return origin is typing.Literal or kind in (bool, int, float, str, Path, types.NoneType)


def as_type(value: Any, kind: Any) -> Any:
    """Read a value as a type.

    Args:
        value: a value of that type, or a text that spells one.
        kind: bool, int, float, str, None, a path, Literal[...], or a tuple, list or union of these.

    Returns:
        The value, of that type.

    Raises:
        TypeError: the value is not of that type.
        ValueError: the value is not of that type, or a float is not finite.
        KeyError: the value is not of that type.
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
