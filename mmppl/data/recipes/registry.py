"""Recipes by name: `name:option=value,option=value`. A recipe makes the data set of a paper from files or packages at
hand."""

from __future__ import annotations

import ast
import inspect
import os
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from ...base.annotated import as_type, in_words, not_of, readable
from ...base.registry import Registry
from ...errors import UsageError, suggest

Make = TypeVar("Make", bound=Callable[..., Any])
LONGEST = 255  # characters of a name, for messages
GIVEN = ("root", "download")  # arguments that a recipe may have besides its options
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


RECIPES: Registry[Callable[..., Any]] = Registry(
    "recipe", __package__, folders=("pictures",), aside=("registry",), lacks=_lacks
)


def recipe(name: str) -> Callable[[Make], Make]:
    """Register a function that makes a data set, so that it can be read by name.

    The keyword-only arguments of the function are the options of the recipe. It may also take `root` (a Path or None,
    the folder with the files that it needs) and `download` (bool, whether it may download them). It returns a
    `Dataset`, or anything else that `mmppl.read` takes, such as arrays by name. The first line of its docstring says
    what the data set is, and a paragraph "Needs: …" says which files it needs.

    Args:
        name: the name for `mmppl.read` and `--data`.

    Returns:
        A decorator.

    Raises:
        UsageError: the name is taken, or a required part is missing.

    Example:
        >>> import numpy as np
        >>> import mmppl
        >>> from mmppl.data.recipes.registry import RECIPES
        >>> @mmppl.recipe("two-blobs")
        ... def two_blobs(*, rows: int = 100):
        ...     '''Points around two centres, and which centre it is.
        ...
        ...     Needs: nothing.
        ...     '''
        ...     label = np.arange(rows) % 2
        ...     return {"point": np.random.default_rng(0).normal(label[:, None], 0.1, (rows, 2)), "label": label}
        >>> len(mmppl.read("two-blobs:rows=50"))
        50
        >>> RECIPES.forget("two-blobs")
    """
    return typing.cast("Callable[[Make], Make]", RECIPES.register(name))


def recipes() -> list[tuple[str, str, str]]:
    """List all recipes, without importing a built-in one.

    Returns:
        (name, what it is, what it needs) of each recipe.
    """
    return [(name, *_about(_docstring(name))) for name in RECIPES]


def make(spec: str, *, root: str | Path | None = None, download: bool = False) -> Any:
    """Make the data set of a recipe.

    Args:
        spec: the name of a recipe, with or without options: "name:option=value,…".
        root: the folder with the files that the recipe needs; None means $MMPPL_DATA.
        download: whether the recipe may download its files into `root`.

    Returns:
        What the recipe makes: a `Dataset`, or anything else that a reader takes.

    Raises:
        UsageError: a recipe, option or value is unknown.
        DataError: files are missing or corrupt.
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


def needs(spec: str) -> Literal["nothing", "root", "path"]:
    """Say which files a source needs that is given as a text.

    Args:
        spec: a recipe, with or without options, or a path.

    Returns:
        "nothing": those of installed packages; "root": those in the folder for the files of recipes; "path": others, as
        the source is a path, a user's own recipe, or a recipe with an option that is a path.

    Example:
        >>> needs("digits-three:seed=1"), needs("mnist-label"), needs("mnist-photo-text:photos=mine"), needs("a.npz")
        ('nothing', 'root', 'path', 'path')
    """
    name, _, text = spec.partition(":")
    if RECIPES.file_of(name) is None or on_disk(spec):
        return "path"
    function = RECIPES[name]
    parameters = inspect.signature(function).parameters
    chosen = [parameters[key] for key in (part.partition("=")[0] for part in text.split(",")) if key in parameters]
    if any(Path in (kind, *typing.get_args(kind)) for kind in (_kind(function, one) for one in chosen)):
        return "path"
    return "root" if "root" in parameters else "nothing"


def on_disk(source: str | os.PathLike[str]) -> bool:
    """Say whether a text names a file or folder that exists. The name of a recipe and the empty text never mean a
    folder.

    Args:
        source: a path or the name of a recipe.

    Returns:
        True if it is a file or folder.
    """
    return os.path.isfile(source) or (
        os.path.isdir(source) and not (isinstance(source, str) and (source in RECIPES or not source))
    )


def spec_of(data: Any) -> str | None:
    """Say how data can be read again from anywhere.

    Args:
        data: what `mmppl.read` takes.

    Returns:
        A recipe or a full path, with its options; None for what is in memory.

    Example:
        >>> spec_of("digits-three:seed=1"), spec_of({"x": [1.0]})
        ('digits-three:seed=1', None)
    """
    if not isinstance(data, str | os.PathLike):
        return None
    text = os.fspath(data)
    path, colon, options = text.rpartition(":")
    if colon and not on_disk(text) and on_disk(path):  # such as cells.h5mu:layer=counts
        return f"{os.path.abspath(path)}:{options}"
    return os.path.abspath(text) if on_disk(text) else text


def no_recipe(spec: str) -> UsageError:
    """Make the error about a text that names neither a recipe nor a file.

    Args:
        spec: the text.

    Returns:
        The error, with a suggestion.
    """
    name, known = spec.partition(":")[0], list(RECIPES)
    if len(name) > LONGEST:
        return UsageError(f"no recipe or file {name[:60]!r}… ({len(name):,} characters); give a name or a path.")
    return UsageError(
        f"no recipe or file {name!r}; recipes: {', '.join(known)}.{suggest(name, known)} "
        "Files are given by their path, *.npz; recordings by that of their folder or .zip."
    )


def _option(
    name: str, function: Callable[..., Any], options: dict[str, inspect.Parameter], text: str
) -> tuple[str, Any]:
    """Parse one "option=value" into an argument of a recipe's function."""
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
    """Return the type that an option is annotated with, or else the type of its default."""
    if parameter.annotation is parameter.empty:
        return str if parameter.default in (parameter.empty, None) else type(parameter.default)
    hint = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    return typing.get_type_hints(hint, inspect.unwrap(function).__globals__)[parameter.name]


def _docstring(name: str) -> str:
    """Return the docstring of a recipe's function. That of a built-in recipe is read from its source, because importing
    it may be slow."""
    file = RECIPES.file_of(name)
    if file is None:
        return inspect.getdoc(RECIPES[name]) or ""
    decorator = f"recipe({name!r})"
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and decorator in map(ast.unparse, node.decorator_list):
            return ast.get_docstring(node) or ""
    return ""


def _about(text: str) -> tuple[str, str]:
    """Return what a recipe is and what it needs, from its docstring, without full stops."""
    needs = NEEDS.search(text)
    return text.partition("\n")[0].strip().rstrip("."), " ".join(needs[1].split()).rstrip(".") if needs else ""
