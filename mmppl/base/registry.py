"""Registries hold things of one kind by name. Built-in ones are found by a folder listing and imported on first use."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..errors import UsageError, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name.

    The modules of `package` register the built-in things when they are imported. Where each module has the name of its
    one thing, with underscores for dashes, only the module that is asked for is imported; otherwise all of them are
    imported when the first is asked for. A user registers a thing of their own with a decorator, in any module that is
    imported.

    Args:
        kind: what the things are, for messages, such as "likelihood".
        package: dotted name of the sub-package that holds the built-in things.
        folders: names of sub-packages of it that hold some of them.
        aside: modules of those packages that register nothing.
        named_by_file: whether every module registers one thing, which has the module's name.
        lacks: returns the required parts that a thing does not have, in words.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        *,
        folders: Collection[str] = (),
        aside: Collection[str] = (),
        named_by_file: bool = True,
        lacks: Callable[[T], list[str]] = lambda thing: [],
    ) -> None:
        self.kind, self.aside, self.lacks = kind, frozenset(aside), lacks
        self.packages = (package, *(f"{package}.{folder}" for folder in folders))
        self.named_by_file = named_by_file
        self._found: dict[str, T] = {}
        self._files: dict[str, str] | None = None
        self._loaded = False
        self._here = threading.local()
        self._whole: set[str] = set()  # built-in names whose modules have been imported to their ends

    def register(self, name: str, module: str | None = None) -> Callable[[T], T]:
        """Make a decorator that registers a thing by name.

        A file that is executed again, or a copy of it, replaces what it has registered before.

        Args:
            name: the name of the thing.
            module: dotted name of the module that the thing comes from. None: where its class or function was defined.

        Returns:
            A decorator that registers its argument and returns it.

        Raises:
            UsageError: the name is taken, or the thing lacks a required part.
        """

        def add(thing: T) -> T:
            if not self.named_by_file:
                self._load()  # so that a user's thing cannot take a built-in name
            own = self._built_in().get(name) if self.named_by_file else None
            taken = name in self._found and not _defined_again(self._found[name], thing)
            if taken or own not in (None, module or getattr(thing, "__module__", None)):
                raise UsageError(f"{self.kind} {name!r} is registered already; choose another name.")
            if missing := self.lacks(thing):
                raise UsageError(f"{self.kind} {name!r} lacks {', '.join(missing)}; add what is missing.")
            self._found[name] = thing
            return thing

        return add

    def __getitem__(self, name: str) -> T:
        """Return the thing of that name. A built-in one is imported now.

        Raises:
            UsageError: there is no such thing; the message suggests the nearest name.
        """
        if not self.named_by_file:
            self._load()
        elif name not in self._whole and name in self._built_in():
            importlib.import_module(self._built_in()[name])  # waits where another thread is importing it
            self._whole.add(name)
        if name not in self._found:
            known = list(self)
            raise UsageError(f"no {self.kind} {name!r}; there are {', '.join(known)}.{suggest(name, known)}")
        return self._found[name]

    def get(self, name: str) -> T | None:
        """Return the thing of that name, or None where there is none."""
        if name not in self:
            return None
        return self[name]

    def __contains__(self, name: object) -> bool:
        if not self.named_by_file:
            self._load()
        return name in self._found or (self.named_by_file and name in self._built_in())

    def __iter__(self) -> Iterator[str]:
        """Go through the names, the built-in ones first."""
        if self.named_by_file:
            return iter(dict.fromkeys([*self._built_in(), *self._found]))
        self._load()
        return iter(list(self._found))

    def values(self) -> list[T]:
        """Return all things, in the order of their names. The built-in ones are imported now."""
        return [self[name] for name in self]

    def file_of(self, name: str) -> Path | None:
        """Return the source file of a built-in thing, without importing it; None for a user's own thing."""
        if name not in self._built_in():
            return None
        spec = importlib.util.find_spec(self._built_in()[name])
        return Path(spec.origin) if spec and spec.origin else None

    def forget(self, name: str) -> None:
        """Remove what was registered under a name, as tests do with what they have registered."""
        self._found.pop(name, None)

    def _load(self) -> None:
        """Import every module of the sub-package."""
        if self._loaded or getattr(self._here, "loading", False):
            return
        self._here.loading = True  # what is imported registers itself, and gets here again
        try:
            for module in self._built_in().values():
                importlib.import_module(module)
            self._loaded = True  # until then another thread imports, too, and so waits for this one
        finally:
            self._here.loading = False

    def _built_in(self) -> dict[str, str]:
        """The module of every built-in thing by the name of the thing, from the listings of the folders."""
        if self._files is None:
            found: dict[str, str] = {}
            for package in self.packages:
                spec = importlib.util.find_spec(package)
                places = list(spec.submodule_search_locations or []) if spec else []
                stems = [file.stem for place in places for file in Path(place).glob("*.py")]
                found |= {stem: f"{package}.{stem}" for stem in stems if not stem.startswith("_")}
            self._files = {stem.replace("_", "-"): found[stem] for stem in sorted(found) if stem not in self.aside}
        return self._files


def _defined_again(old: Any, new: Any) -> bool:
    """Whether `new` is another definition of `old`: it has the same name, and comes from a file that was executed again
    (an edited program, a cell of a notebook) or from a copy of that file, such as the program that a run keeps.
    """
    name = getattr(old, "__qualname__", None)
    if old is new or name is None or name != getattr(new, "__qualname__", None) or "<locals>" in name:
        return False
    modules = [sys.modules.get(thing.__module__) for thing in (old, new)]
    if None in modules or modules[0] is modules[1]:
        return True  # the old module was removed because of an error further down, or both are in the same module
    files, sources = ([getattr(module, key, None) for module in modules] for key in ("__file__", "__source__"))
    return any(first is not None and first == second for first, second in (files, sources))
