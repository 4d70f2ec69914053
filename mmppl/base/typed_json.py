"""Reading dataclasses from JSON, with a check that every field is present and of its type."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def from_json(cls: type[T], data: Any, where: str = "", *, whole: bool = False) -> T:
    """Make an instance of a dataclass from what `json.loads` has returned.

    Fields may be annotated as bool, int, float (which takes whole numbers, too), str, None, Any, unions, `Literal`,
    `dict[str, ...]`, `tuple[..., ...]`, `list[...]`, other dataclasses, or classes with a `from_json` of their own.

    Args:
        cls: a dataclass.
        data: a dict with one entry for each of its fields, and no other; fields with a default may be absent.
        where: the place of `data` in messages, such as "data." (empty at the top).
        whole: whether no field may be absent.

    Returns:
        The instance.

    Raises:
        ValueError: a field is missing, unknown or of another type, or the class refuses its value; the message names
            it.

    Example:
        >>> @dataclasses.dataclass
        ... class Point:
        ...     x: float
        >>> from_json(Point, {"x": 1})
        Point(x=1)
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where.rstrip('.') or 'it'} is no object")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for name in data:
        if name not in fields:
            raise ValueError(f"{where}{name} is unknown")
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(data[name], hints[name], where + name)
        elif whole or (field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING):
            raise ValueError(f"{where}{name} is missing")
    try:
        return cls(**values)
    except ValueError as error:  # of its own checks, which do not know where it stands
        raise ValueError(f"{where}{error}") from None


def _value(value: Any, kind: Any, where: str) -> Any:
    """`value` as a type; ValueError, which names `where`, when it is none of that type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, arguments, where)
    if origin is typing.Literal and value in arguments:
        return value
    if origin is dict and isinstance(value, dict):
        return {str(key): _value(item, arguments[1], f"{where}.{key}") for key, item in value.items()}
    if origin in (tuple, list) and isinstance(value, list | tuple):
        return origin(_value(item, arguments[0], f"{where}[{number}]") for number, item in enumerate(value))
    if isinstance(kind, type):
        if hasattr(kind, "from_json"):
            return _of_its_own(value, kind, where)
        if dataclasses.is_dataclass(kind):
            return from_json(kind, value, f"{where}.")
        if kind is float and type(value) is int and abs(value) <= sys.float_info.max:
            return value
        if type(value) is kind:
            return value
    raise ValueError(f"{where} is {value!r:.40}, expected {_words(kind)}")


def _one_of(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    """`value` as the first of several types that fits."""
    reasons = []
    for kind in kinds:
        try:
            return _value(value, kind, where)
        except ValueError as error:
            reasons.append(str(error))
    deeper = [r for r in reasons if not r.startswith(f"{where} is ")]  # a dict that lacks something says what
    raise ValueError(deeper[0] if deeper else f"{where} is {value!r:.40}, expected {' or '.join(map(_words, kinds))}")


def _of_its_own(value: Any, kind: Any, where: str) -> Any:
    """`value` by the class's own `from_json`."""
    try:
        return kind.from_json(value)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{where} is not what was written ({error})") from None


def _words(kind: Any) -> str:
    return "null" if kind is types.NoneType else getattr(kind, "__name__", str(kind))
