"""Hyper-parameters: the keyword arguments of a program's constructor, whose values are checked against their types.

A keyword argument whose default is a dataclass, such as `options: NetworkOptions = NetworkOptions()`, stands for the
fields of the dataclass: each is a hyper-parameter like the others, with that default's value as its own.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..base.annotated import as_type, in_words, not_of, readable
from ..errors import UsageError, suggest

if TYPE_CHECKING:
    from .program import Program


def hyper_parameters(cls: type[Program]) -> dict[str, inspect.Parameter]:
    """List the hyper-parameters of a program: the keyword arguments of its constructor, in order, with the fields of
    options.

    Args:
        cls: the program.

    Returns:
        name → parameter, with its annotation and default.

    Raises:
        UsageError: two of them have the same name, so that it would not say which is meant.
    """
    found: dict[str, inspect.Parameter] = {}
    for parameter in inspect.signature(cls.__init__).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        own = _is_options(parameter.default)
        for one in _fields(parameter.default) if own else [parameter]:
            if one.name in found:
                where = f", one in {parameter.name} ({type(parameter.default).__name__})" if own else ""
                raise UsageError(f"{cls.__name__}: two hyper-parameters are called {one.name}{where}; rename one.")
            found[one.name] = one
    return found


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Find the keyword arguments of a constructor that stand for options.

    Args:
        function: the constructor.

    Returns:
        name → the dataclass that is its default.
    """
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and _is_options(p.default)}


def taking_fields(constructor: Callable[..., None]) -> Callable[..., None]:
    """Make a constructor take the fields of its options as keyword arguments, too.

    Args:
        constructor: the `__init__` of a program.

    Returns:
        The constructor itself, if it has no options, or one that calls it.
    """
    options = options_of(constructor)
    if not options:
        return constructor

    @functools.wraps(constructor)
    def flat(self: Any, *args: Any, **hyper: Any) -> None:
        for name, default in options.items():
            given = {f.name: hyper.pop(f.name) for f in dataclasses.fields(default) if f.name in hyper}
            if given:
                hyper[name] = dataclasses.replace(hyper.get(name, default), **given)
        constructor(self, *args, **hyper)

    return flat


def _is_options(default: Any) -> bool:
    return dataclasses.is_dataclass(default) and not isinstance(default, type)


def _fields(default: Any) -> list[inspect.Parameter]:
    """The fields of a dataclass as keyword arguments."""
    hints = typing.get_type_hints(type(default))
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(default, field.name),
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(default)
    ]


def check_hyper(cls: type[Program], hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Check hyper-parameters against a program's constructor.

    Args:
        cls: the program.
        hyper: name → value; text is read as the annotated type. Options may also be given as a whole.

    Returns:
        name → value of the right type; each field of the options has its own name.

    Raises:
        UsageError: a name is unknown, or a value is of another type.

    Example:
        >>> import mmppl
        >>> check_hyper(mmppl.load_program("mvae"), {"latent_dim": "64", "subsets": "sampled"})
        {'latent_dim': 64, 'subsets': 'sampled'}
    """
    known = hyper_parameters(cls)
    for name, default in options_of(cls.__init__).items():
        if isinstance(hyper.get(name), type(default)):
            whole = {f.name: getattr(hyper[name], f.name) for f in dataclasses.fields(default)}
            hyper = whole | {n: value for n, value in hyper.items() if n != name}
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
    """Check the hyper-parameters that are set for a fitted run, as `check_hyper` does.

    Args:
        cls: the program.
        hyper: name → value; only names in `query_options` are allowed.

    Returns:
        name → value of the right type.

    Raises:
        UsageError: a hyper-parameter is fixed by the fit or unknown, or a value is of another type.
    """
    for name in hyper:
        if name not in cls.query_options:
            allowed = f"only {', '.join(cls.query_options)} can be set" if cls.query_options else "nothing can be set"
            what = "is fixed by the fit" if name in hyper_parameters(cls) else "is none of its hyper-parameters"
            raise UsageError(
                f"{cls.__name__}: {name} {what}; {allowed} on a fitted run.{suggest(name, list(cls.query_options))}"
            )
    return check_hyper(cls, hyper)


def hyper_type(cls: type[Program], name: str) -> Any:
    """Return the type that the values of a hyper-parameter are checked against."""
    return _kind(cls, hyper_parameters(cls)[name])


def _kind(cls: type[Program], parameter: inspect.Parameter) -> Any:
    """The annotated type of a keyword argument; without an annotation that of its default, or else str. A bare tuple or
    list becomes one of the types that its default has.
    """
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
