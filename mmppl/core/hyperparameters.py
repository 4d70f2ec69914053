"""Hyper-parameters: the keyword arguments of a program's constructor, and values of their annotated types."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..base.annotated import as_type, in_words, not_of, readable
from ..errors import UsageError, suggest

if TYPE_CHECKING:
    from .program import Program


def hyper_parameters(cls: type[Program]) -> dict[str, inspect.Parameter]:
    """The keyword arguments of the constructor, in order."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name: p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def check_hyper(cls: type[Program], hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters of the right names and types (strings are read as such types); UsageError otherwise."""
    known = hyper_parameters(cls)
    checked = {}
    for name, value in hyper.items():
        if name not in known:
            raise UsageError(
                f"{cls.__name__} has no hyper-parameter {name!r}; it has {', '.join(known)}."
                + suggest(name, list(known))
            )
        kind = _kind(cls, known[name])
        if not readable(kind):
            raise UsageError(
                f"{cls.__name__}: {name} is of a type that no value can be checked against ({in_words(kind)}); "
                "annotate it as int, float, bool, str, Literal[...], tuple[...] or list[...] of these."
            )
        try:
            checked[name] = as_type(value, kind)
        except (TypeError, ValueError, KeyError):
            raise UsageError(f"{cls.__name__}: {name}={value} is {not_of(kind, value)}") from None
    return checked


def check_query_options(cls: type[Program], hyper: Mapping[str, Any]) -> dict[str, Any]:
    """The same, of those alone that may be others on a fitted run; UsageError for the rest, which names them."""
    for name in hyper:
        if name not in cls.query_options:
            allowed = f"only {', '.join(cls.query_options)} can be set" if cls.query_options else "nothing can be set"
            what = "is fixed by the fit" if name in hyper_parameters(cls) else "is none of its hyper-parameters"
            raise UsageError(
                f"{cls.__name__}: {name} {what}; {allowed} on a fitted run.{suggest(name, list(cls.query_options))}"
            )
    return check_hyper(cls, hyper)


def _kind(cls: type[Program], parameter: inspect.Parameter) -> Any:
    """The type that a keyword argument is annotated with; where it is not, that of its default, or else text. A tuple
    or list of nothing in particular is one of what the default has."""
    if parameter.annotation is not parameter.empty:
        kind = _annotated(cls, parameter)
    else:
        kind = str if parameter.default in (parameter.empty, None) else type(parameter.default)
    if kind in (tuple, list) and isinstance(parameter.default, tuple | list) and parameter.default:
        item: Any = typing.Union[tuple(dict.fromkeys(map(type, parameter.default)))]  # noqa: UP007  # known at run time
        return tuple[item, ...] if kind is tuple else list[item]
    return kind


def _annotated(cls: type[Program], parameter: inspect.Parameter) -> Any:
    hint = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return typing.get_type_hints(hint, inspect.unwrap(cls.__init__).__globals__)[parameter.name]
    except NameError as error:
        raise UsageError(
            f"{cls.__name__}: the annotation of {parameter.name}, {parameter.annotation!r}, needs {error.name}; "
            "import it outside TYPE_CHECKING."
        ) from None
