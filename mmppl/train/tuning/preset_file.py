"""Preset files: hyper-parameters and training settings in TOML, to be read by `--preset FILE`."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...base.files import write
from ...errors import DataError, UsageError, suggest

TABLES = ("hyper", "training")
SUFFIX = ".toml"


@dataclass(frozen=True)
class PresetFile:
    """What a preset file sets, as it stands there; a fit checks it against the program.

    Args:
        hyper: name → value, of the program's hyper-parameters.
        training: name → value, of the settings of a fit.
    """

    hyper: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


def names_a_file(preset: str | os.PathLike[str]) -> bool:
    """Return whether a preset that a program does not know means a file: it is a path, ends in .toml, or is there."""
    text = os.fspath(preset)
    return text.endswith(SUFFIX) or os.path.basename(text) != text or os.path.isfile(text)


def read_preset(path: str | os.PathLike[str]) -> PresetFile:
    """Read a preset file.

    Args:
        path: the path of the file.

    Returns:
        What it sets.

    Raises:
        UsageError: there is no such file, or it has another table or key than [hyper] and [training].
        DataError: it is no TOML.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "best.toml"
        >>> write_preset(file, {"latent_dim": 8, "decoder_hidden": None}, {"lr": 1e-3})
        >>> print(file.read_text().strip())
        [hyper]
        latent_dim = 8
        decoder_hidden = "none"
        <BLANKLINE>
        [training]
        lr = 0.001
        >>> read_preset(file).training
        {'lr': 0.001}
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"{path}: there is no such preset file. Check the path.")
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not a preset file in TOML ({' '.join(str(error).split())}); correct it.") from None
    for name, value in content.items():
        if name not in TABLES:
            raise UsageError(
                f"{path}: {name!r} is none of the tables of a preset file, [hyper] and [training]; put settings under "
                f"one of them.{suggest(name, TABLES)}"
            )
        if not isinstance(value, dict):
            raise UsageError(f"{path}: {name} = {value!r} is no table; write [{name}] and the settings below it.")
    return PresetFile(**content)


def write_preset(
    path: str | os.PathLike[str],
    hyper: Mapping[str, Any],
    training: Mapping[str, Any],
    comments: Sequence[str] = (),
) -> None:
    """Write a preset file.

    Args:
        path: the file to replace or to create.
        hyper: name → value of hyper-parameters; None is written as "none".
        training: name → value of settings of a fit.
        comments: lines that say where the settings are from.
    """
    lines = [f"# {_line(comment)}" for comment in comments]
    for name, values in zip(TABLES, (hyper, training)):
        lines += [*([""] if lines else []), f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    write(Path(path), ("\n".join(lines) + "\n").encode())


def _toml(value: Any) -> str:
    """A value as TOML, which has no null, and whose texts are written as those of JSON."""
    if value is None:
        return '"none"'
    plain = list(value) if isinstance(value, tuple) else os.fspath(value) if isinstance(value, Path) else value
    return json.dumps(plain, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def _line(text: str) -> str:
    """A text as it may stand in a comment: without ends of lines and control characters."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
