"""Who is compared: a program with its settings, or a run that was fitted before; and how they are written."""

from __future__ import annotations

import os
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...base.annotated import as_type, not_of
from ...base.files import sha256
from ...core.hyperparameters import check_hyper
from ...core.loading import load_program
from ...core.program import Program
from ...errors import UsageError
from ..settings import OF_A_PROGRAM, FitSettings, preset_of

FORM = re.compile(r"(?P<what>.+?)(?:@(?P<preset>[^:@]+))?(?::(?P<settings>\w+=.*))?")
LENGTH = ("epochs", "steps")


@dataclass(frozen=True)
class Contender:
    """A program that is fitted with these settings.

    Args:
        program: a class, a file, or a name.
        hyper: hyper-parameters.
        preset: a name in the program's `presets`.
        training: settings of `mmppl.fit`, such as `epochs` and `lr`, over those that all contenders have in common.
        name: what it is called; "": the name of the program.

    Example:
        >>> Contender.parse("mopoe@paper:latent_dim=8,beta=2.5,lr=1e-4")  # doctest: +NORMALIZE_WHITESPACE
        Contender(program='mopoe', hyper={'latent_dim': '8', 'beta': '2.5'}, preset='paper', training={'lr': 0.0001},
                  name='mopoe@paper:latent_dim=8,beta=2.5,lr=1e-4')
    """

    program: type[Program] | str | Path
    hyper: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            own = self.program.__name__.lower() if isinstance(self.program, type) else str(self.program)
            object.__setattr__(self, "name", own)

    @classmethod
    def parse(cls, text: str) -> Contender:
        """Read PROGRAM[@PRESET][:NAME=VALUE,NAME=VALUE…]. A value may have commas of its own (`weights=1,20,lr=.1`).

        Raises:
            UsageError: a training setting is of another type.
        """
        what, preset, values = split_text(text)
        training = {name: _of_training(text, name, value) for name, value in values.items() if name in OF_A_PROGRAM}
        hyper = {name: value for name, value in values.items() if name not in training}
        return cls(what, hyper, preset, training, text)

    def settings(self, common: Mapping[str, Any], *, fixed_length: bool = False) -> dict[str, Any]:
        """Return the settings of its fits.

        Args:
            common: those of all contenders, which its own replace.
            fixed_length: whether the stages of the program say how long it is fitted, so that `epochs` and `steps` that
                others have are not for it.
        """
        own = {name: value for name, value in self.training.items() if value is not None}
        fixed_length = fixed_length or any(name in own for name in LENGTH)
        kept = {name: value for name, value in common.items() if not (fixed_length and name in LENGTH)}
        return {**kept, **own}

    def check(self) -> type[Program]:
        """Load the program and check the names and values of the hyper-parameters, and the preset.

        Raises:
            UsageError: one is wrong.
        """
        cls = load_program(self.program)
        check_hyper(cls, self.hyper)
        preset_of(cls, self.preset)
        return cls


def split_text(text: str) -> tuple[str, str | None, dict[str, str]]:
    """Take PROGRAM[@PRESET][:NAME=VALUE,…] or RUN[:NAME=VALUE,…] apart.

    Args:
        text: the text; of a file or folder of that very name it is the path alone.

    Returns:
        What is named, the preset or None, and name → value.
    """
    found = None if os.path.exists(text) else FORM.fullmatch(text)
    if found is None:
        return text, None, {}
    values: dict[str, str] = {}
    for part in (found["settings"] or "").split(","):
        name, equals, value = part.partition("=")
        if equals and re.fullmatch(r"\s*\w+\s*", name):
            last = name.strip()
            values[last] = value
        elif values:  # a comma inside a value
            values[last] += f",{part}"
    return found["what"], found["preset"], values


def folder_name(name: str) -> str:
    """Return a name for the folder of a contender's fits: its own, where a folder can be called so."""
    plain = re.sub(r"[^\w.=,+@-]+", "-", name).strip("-.")[:80]
    return plain if plain == name else f"{plain}-{sha256(name.encode())[:8]}"


def _of_training(text: str, name: str, value: str) -> Any:
    kind = typing.get_type_hints(FitSettings)[name]
    try:
        return as_type(value, kind)
    except (TypeError, ValueError, KeyError):
        raise UsageError(f"compare: {text}: {name}={value} is {not_of(kind, value)}") from None
