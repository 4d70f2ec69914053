"""Loading a program class by path or by name, with the errors of its file reported as file:line."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import sys
import threading
import traceback
import types
from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import MMPPLError, UsageError, suggest
from ..modalities.modality import Modality
from .program import Program


def installed_programs() -> dict[str, Path]:
    """Return the files of the programs that come with the package, by name."""
    folder = importlib.util.find_spec("mmppl.programs")
    places = list(folder.submodule_search_locations or []) if folder else []
    files = [f for place in places for f in sorted(Path(place).glob("*.py"))]
    return {f.stem: f for f in files if not f.stem.startswith("_")}


def default_program(rows: int, schema: Sequence[Modality] = ()) -> tuple[str, str]:
    """Choose the program that is fitted where none is named.

    Args:
        rows: the number of training rows.
        schema: of the data. Where there are sequences or conditions, it is a program that takes them, of those for any
            number of rows above.

    Returns:
        The name of the installed program whose `default_rows` hold that number, and a line that says so.

    Example:
        >>> default_program(999)
        ('factors', 'No program is named: factors, as there are 999 training rows, fewer than 1,000.')
        >>> default_program(1000)
        ('mvae', 'No program is named: mvae, as there are 1,000 training rows, at least 1,000.')
    """
    elements = any(m.sequence for m in schema)
    conditions = any(m.role == "condition" for m in schema)
    for name, path in installed_programs().items():
        found = load_program(path)
        least, end = found.default_rows or (0, 0)
        takes = (found.takes_elements or not elements) and (found.takes_covariates or not conditions)
        if (elements or conditions) and takes and end is None and found.default_rows:
            return name, f"No program is named: {name}, as there are {'sequences' if elements else 'conditions'}."
        if not elements and not conditions and least <= rows and (end is None or rows < end):
            why = f"at least {least:,}" if end is None else f"fewer than {end:,}"
            return name, f"No program is named: {name}, as there are {rows:,} training rows, {why}."
    raise UsageError("fit: no installed program is for data of this size; name one.")


def load_program(program: type[Program] | str | Path) -> type[Program]:
    """Load the Program class of a file, or of an installed program by name.

    Args:
        program: path of a Python file, or name of an installed program; a Program class is returned as it is.

    Returns:
        The one Program class that the file defines.

    Raises:
        UsageError: the name is unknown, the file cannot be read or run (the message says file:line), it defines no
            Program class or several, or `program` is something else, such as a plain Pyro model.

    Example:
        >>> load_program("mvae").__name__
        'MVAE'
    """
    if isinstance(program, type) and issubclass(program, Program):
        return program
    if not isinstance(program, str | Path):
        what = getattr(program, "__name__", type(program).__name__)
        raise UsageError(
            f"{what} is no program: neither a Program class, nor a file or a name. Make one of a Pyro model and guide "
            "by mmppl.from_pyro(model, guide)."
        )
    installed = installed_programs()
    if str(program) in installed:
        path = installed[str(program)]
    else:
        path = Path(program)
        if not os.path.isfile(path):
            known = sorted(installed)
            raise UsageError(
                f"no program {str(program)!r}: neither a file nor one of {', '.join(known)}."
                + suggest(path.stem, known)
            )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}). Change its permissions.") from None
    return program_from_source(source, path)


def program_from_source(source: bytes, path: Path) -> type[Program]:
    """Execute a program's source.

    Args:
        source: the contents of a Python file.
        path: the file that error messages and tracebacks name.

    Returns:
        The one Program class that the source defines.

    Raises:
        UsageError: the source cannot be run (the message says file:line), or it defines no Program class or several.
    """
    if b"\0" in source:
        raise UsageError(f"{path}: no program, which is a Python file, but binary data; give data with --data.")
    module = _executed(source, path, "program")
    found = [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Program) and c.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(c.__name__ for c in found) or "none"
        raise UsageError(f"{path}: a program file holds exactly one Program class; this one has {names}.")
    return found[0]


def use_file(path: str | Path) -> str:
    """Execute a user's file that registers something: a likelihood, a reader, a recipe, a metric or a figure.

    Args:
        path: a Python file. Executing it again, unchanged, does nothing.

    Returns:
        The hash of its source (sha256, hexadecimal).

    Raises:
        UsageError: the file cannot be read or run (the message says file:line).
    """
    path = Path(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--use {path}: {error.strerror}. Give the path of a Python file.") from None
    sha = hashlib.sha256(source).hexdigest()
    if sha not in _USED:
        _executed(source, path, "use")
        _USED[sha] = path.name
    return sha


def used_files() -> dict[str, str]:
    """Return the files that `use_file` has executed in this process: hash → file name."""
    return dict(_USED)


_USED: dict[str, str] = {}
_LOCKS: dict[str, threading.RLock] = {}  # of modules, which are in `sys.modules` before they are whole


def _executed(source: bytes, path: Path, kind: str) -> types.ModuleType:
    """The module that a file's source makes, executed once for each content and place."""
    sha = hashlib.sha256(bytes(path.resolve()) + b"\0" + source).hexdigest()  # errors name the path
    name = f"mmppl_{kind}_{path.stem}_{sha[:12]}"
    with _LOCKS.setdefault(name, threading.RLock()):
        if name not in sys.modules:
            module = types.ModuleType(name)
            module.__file__ = str(path)
            module.__dict__["__source__"] = source
            sys.modules[name] = module  # dataclasses and typing look modules up there
            try:
                exec(compile(source, str(path), "exec"), module.__dict__)
            except BaseException as error:
                del sys.modules[name]
                if not isinstance(error, (Exception, SystemExit)):
                    raise
                line = _last_line(error, str(path))
                if isinstance(error, SyntaxError) and error.filename == str(path):  # not in what it imports
                    line = error.lineno
                raise UsageError(f"{path}:{line or 1}: {_in_words(error)}") from error
            module.__dict__["__source__"] = source
        return sys.modules[name]


def blame(error: Exception, cls: type[Program]) -> UsageError | None:
    """Turn an error that passed through a program's file into one that names the line (file:line: Type: message).

    Args:
        error: an exception with its traceback.
        cls: the program.

    Returns:
        A UsageError; None where no edit of that file would help: the error did not pass through it, is the user's
        already, or is a lack of memory.
    """
    memory = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if memory or isinstance(error, MMPPLError) or file is None:
        return None
    line = _last_line(error, file)
    return None if line is None else UsageError(f"{file}:{line}: {_in_words(error)}")


def _last_line(error: BaseException, file: str) -> int | None:
    """The line of the innermost frame that runs code of a file."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    return lines[-1] if lines else None


def _in_words(error: BaseException) -> str:
    """Type and message on one line, without the table of shapes that Pyro adds. Errors of this package need no type."""
    message = " ".join(str(error).partition("Trace Shapes:")[0].split())
    if isinstance(error, MMPPLError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def source_of(cls: type[Program]) -> bytes:
    """Return the source of the file that defines a program class; b"" for a class typed at a prompt."""
    module = sys.modules.get(cls.__module__)
    if module is not None and "__source__" in vars(module):
        return module.__dict__["__source__"]
    try:
        return Path(inspect.getfile(cls)).read_bytes()
    except (TypeError, OSError):
        return b""
