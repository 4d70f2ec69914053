"""Registries: things of one kind by name. Built-in ones are found by a folder listing and imported on first use."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..errors import UsageError, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name.

    Built-in things are registered by the modules of `package` when these are imported. Where each module has the name
    of its one thing (with underscores for dashes), only what is asked for is imported; else all are, when first asked.
    A user's own is registered by a decorator in any module that has been imported.

    Args:
        kind: what the things are, for messages: "likelihood".
        package: dotted name of the sub-package that holds the built-in ones.
        aside: modules of that package which register nothing.
        named_by_file: every module registers one thing, which has its name.
        lacks: gives the required parts that a thing does not have, in words.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        *,
        aside: Collection[str] = (),
        named_by_file: bool = True,
        lacks: Callable[[T], list[str]] = lambda thing: [],
    ) -> None:
        self.kind, self.package, self.aside, self.lacks = kind, package, frozenset(aside), lacks
        self.named_by_file = named_by_file
        self._found: dict[str, T] = {}
        self._files: dict[str, str] | None = None
        self._loaded = False

    def register(self, name: str, module: str | None = None) -> Callable[[T], T]:
        """A decorator that makes a thing known by `name`. A file, or a copy of it, that is executed again replaces what
        it has registered before.

        Args:
            name: what it is called.
            module: dotted name of the module that it comes from; None: where its class or function was defined.

        Raises:
            UsageError: the name is taken, or a required part is missing.
        """

        def add(thing: T) -> T:
            if not self.named_by_file:
                self._load()  # so that no built-in name is taken
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
        """The thing of that name; a built-in one is imported now.

        Raises:
            UsageError: there is none; the nearest name is suggested.
        """
        if not self.named_by_file:
            self._load()
        elif name not in self._found and name in self._built_in():
            importlib.import_module(self._built_in()[name])
        if name not in self._found:
            known = list(self)
            raise UsageError(f"no {self.kind} {name!r}; there are {', '.join(known)}.{suggest(name, known)}")
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return name in list(self)

    def __iter__(self) -> Iterator[str]:
        """Names, the built-in ones first."""
        if self.named_by_file:
            return iter(dict.fromkeys([*self._built_in(), *self._found]))
        self._load()
        return iter(list(self._found))

    def values(self) -> list[T]:
        """All things, in the order of their names; the built-in ones are imported now."""
        return [self[name] for name in self]

    def file_of(self, name: str) -> Path | None:
        """The source of a built-in thing, to look into without an import; None for a user's own."""
        if name not in self._built_in():
            return None
        spec = importlib.util.find_spec(self._built_in()[name])
        return Path(spec.origin) if spec and spec.origin else None

    def forget(self, name: str) -> None:
        """Take out what was registered under `name`, as a test does with what it has registered."""
        self._found.pop(name, None)

    def _load(self) -> None:
        """Import every module of the sub-package."""
        if not self._loaded:
            self._loaded = True
            for module in self._built_in().values():
                importlib.import_module(module)

    def _built_in(self) -> dict[str, str]:
        """Name → module of everything in the sub-package's folder."""
        if self._files is None:
            spec = importlib.util.find_spec(self.package)
            places = list(spec.submodule_search_locations or []) if spec else []
            stems = sorted(file.stem for place in places for file in Path(place).glob("*.py"))
            kept = [stem for stem in stems if not stem.startswith("_") and stem not in self.aside]
            self._files = {stem.replace("_", "-"): f"{self.package}.{stem}" for stem in kept}
        return self._files


def _defined_again(old: Any, new: Any) -> bool:
    """Whether `new` is the definition of `old` once more: of one name, in a file that is executed again (a program that
    was edited, a cell of a notebook), or in a copy of that file, as a run keeps one of its program."""
    name = getattr(old, "__qualname__", None)
    if old is new or name is None or name != getattr(new, "__qualname__", None) or "<locals>" in name:
        return False
    modules = [sys.modules.get(thing.__module__) for thing in (old, new)]
    if None in modules or modules[0] is modules[1]:
        return True  # of the old one nothing is left, as its file had an error further down; or it is the same module
    files, sources = ([getattr(module, key, None) for module in modules] for key in ("__file__", "__source__"))
    return any(first is not None and first == second for first, second in (files, sources))
