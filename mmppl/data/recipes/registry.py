"""Recipes by name: data sets of papers, made from files or packages at hand. `name:option=value,option=value`."""

from __future__ import annotations

import ast
import inspect
import os
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ...base.annotated import as_type, in_words, not_of, readable
from ...base.registry import Registry
from ...errors import UsageError, suggest

Make = TypeVar("Make", bound=Callable[..., Any])
GIVEN = ("root", "download")  # what a recipe may ask for beside its options
NEEDS = re.compile(r"^\s*Needs:\s*(.+?)\s*(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


def _lacks(thing: Any) -> list[str]:
    if not inspect.isfunction(thing):
        return ["a function that makes the data set"]
    missing = []
    text = inspect.getdoc(thing) or ""
    if not text.partition("\n")[0].strip():
        missing.append("a docstring that says in its first line what the data set is")
    if not NEEDS.search(text):
        missing.append('a paragraph "Needs: …" in its docstring (the files that it needs, or "nothing")')
    for name, parameter in inspect.signature(thing).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and name not in GIVEN:
            if parameter.default is parameter.empty:
                missing.append(f"a default of {name}")
            kind = _kind(thing, parameter)
            if not readable(kind):
                missing.append(f"a type of {name} that can be read from text (int, Literal[...]), not {in_words(kind)}")
        elif name not in GIVEN:
            missing.append(f"a * before {name} (options are keyword-only)")
    return missing


RECIPES: Registry[Callable[..., Any]] = Registry("recipe", __package__, aside=("registry",), lacks=_lacks)


def recipe(name: str) -> Callable[[Make], Make]:
    """Decorator of a function that makes a data set, which then can be read by name.

    Its keyword-only arguments are the recipe's options; it may also take `root` (a Path or None, the folder of the
    files that it needs) and `download` (bool, whether it may fetch them). It returns a `Dataset`, or anything else that
    `mmppl.read` takes, such as arrays by name. The first line of its docstring says what the data set is, and a
    paragraph "Needs: …" says which files it needs.

    Args:
        name: what `mmppl.read` and `--data` call it.
    Raises:
        UsageError: the name is taken, or a required part is missing.
    """
    return typing.cast("Callable[[Make], Make]", RECIPES.register(name))


def recipes() -> list[tuple[str, str, str]]:
    """(name, what it is, what it needs) of every recipe. No built-in recipe is imported for that."""
    return [(name, *_about(_docstring(name))) for name in RECIPES]


def make(spec: str, *, root: str | Path | None = None, download: bool = False) -> Any:
    """Make the data set of "name" or "name:option=value,…".

    Args:
        spec: the name of a recipe, with options or without.
        root: folder of the files that the recipe needs; None: $MMPPL_DATA.
        download: whether the recipe may fetch its files into `root`.
    Returns:
        What the recipe makes: a `Dataset`, or anything else that a reader takes.
    Raises:
        UsageError: unknown recipe, option or value.
        DataError: files that are missing or corrupt.
    """
    name, _, text = spec.partition(":")
    if name not in RECIPES:
        raise no_recipe(spec)
    function = RECIPES[name]
    parameters = inspect.signature(function).parameters
    options = {key: p for key, p in parameters.items() if key not in GIVEN}
    chosen = dict(_option(name, function, options, part) for part in text.split(",") if part)
    given = {"root": Path(root) if root else None, "download": download}
    return function(**{key: value for key, value in given.items() if key in parameters}, **chosen)


def on_disk(source: str | os.PathLike[str]) -> bool:
    """Whether this names a file or folder that is there. No folder is meant by a recipe's name, nor by an empty one."""
    path = Path(source)
    return path.is_file() or (path.is_dir() and not (isinstance(source, str) and (source in RECIPES or not source)))


def no_recipe(spec: str) -> UsageError:
    """The error about a text that names neither a recipe nor a file."""
    name, known = spec.partition(":")[0], list(RECIPES)
    return UsageError(
        f"no recipe or file {name!r}; recipes: {', '.join(known)}.{suggest(name, known)} "
        "Files are given by their path, *.npz; recordings by that of their folder or .zip."
    )


def _option(
    name: str, function: Callable[..., Any], options: dict[str, inspect.Parameter], text: str
) -> tuple[str, Any]:
    """One "option=value" as the argument of a recipe's function."""
    key, _, value = text.partition("=")
    if key not in options:
        known = list(options)
        raise UsageError(f"{name}: no option {key!r}; it has {', '.join(known) or 'none'}.{suggest(key, known)}")
    kind = _kind(function, options[key])
    try:
        return key, as_type(value, kind)
    except (TypeError, ValueError, KeyError):
        wrong = "not a whole number." if kind is int else not_of(kind, value)
        raise UsageError(f"{name}: {key}={value!r} is {wrong}") from None


def _kind(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The type that an option is annotated with, or else that of its default."""
    if parameter.annotation is parameter.empty:
        return str if parameter.default in (parameter.empty, None) else type(parameter.default)
    hint = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    return typing.get_type_hints(hint, inspect.unwrap(function).__globals__)[parameter.name]


def _docstring(name: str) -> str:
    """Of the recipe's function; that of a built-in one is taken from its source, since it may import what is heavy."""
    file = RECIPES.file_of(name)
    if file is None:
        return inspect.getdoc(RECIPES[name]) or ""
    decorator = f"recipe({name!r})"
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and decorator in map(ast.unparse, node.decorator_list):
            return ast.get_docstring(node) or ""
    return ""


def _about(text: str) -> tuple[str, str]:
    """What a recipe is and what it needs, from its docstring, without full stops."""
    needs = NEEDS.search(text)
    return text.partition("\n")[0].strip().rstrip("."), " ".join(needs[1].split()).rstrip(".") if needs else ""
