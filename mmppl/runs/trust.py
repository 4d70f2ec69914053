"""Which code may be executed for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..base.files import sha256
from ..core.loading import installed_programs, program_from_source, source_of, used_files
from ..core.program import Program
from ..errors import UntrustedError, UsageError
from .record import PROGRAM, RunRecord
from .storage import read_checked


def check_used(path: Path, record: RunRecord) -> None:
    """The files that a fit used (`--use FILE`) must have been executed in this process, by the user's own wish.

    Raises:
        UntrustedError: one has not.
    """
    here = used_files()
    for file in record.use:
        if file.sha256 not in here:
            other = " Another version of it was given." if file.name in here.values() else ""
            raise UntrustedError(
                f"{path}: fitted with --use {file.name}, which a run never executes by itself.{other} Give your own "
                f"copy with --use FILE (sha256 {file.sha256[:12]}…)."
            )


def trusted_program(path: Path, record: RunRecord, program: Any = None, trust: bool = False) -> type[Program]:
    """The program class of a run, from the user's own code or the installed one, never from the run unless trusted.

    Args:
        path: the run folder.
        record: the record of the run.
        program: the user's own program, a class or a file; None: the installed program of that name.
        trust: whether RUN/program.py may be executed.

    Returns:
        The class.

    Raises:
        UntrustedError: no code with the stored hash is at hand.
    """
    name, wanted = record.program.name, record.program.sha256
    if isinstance(program, type):
        known = source_of(program) or program.__name__.lower() == name  # typed at a prompt: the name must do
        if not known or sha256(source_of(program)) != wanted:
            raise UntrustedError(
                f"{path}: {program.__name__} is not the program that this run was fitted with (hash differs)."
            )
        return program
    if program is not None:
        try:
            source = Path(program).read_bytes()
        except OSError as error:
            raise UsageError(f"--program {program}: {error.strerror}.") from None
        if sha256(source) != wanted:
            raise UntrustedError(
                f"{path}: {program} is not the program that this run was fitted with (hash differs). "
                "Compare it with program.py in the run; --trust-program runs that one."
            )
        return program_from_source(source, Path(program))
    read_checked(path, record, PROGRAM)
    installed = installed_programs().get(name)
    if installed is not None and sha256(installed.read_bytes()) == wanted:
        return program_from_source(installed.read_bytes(), installed)
    if trust:
        return program_from_source(read_checked(path, record, PROGRAM), path / PROGRAM)
    if installed is not None:
        raise UntrustedError(
            f"{path}: fitted with another version of {name} (mmppl {record.mmppl}) than the installed one. "
            "Give that version's file with --program FILE, or read program.py in the run and pass --trust-program."
        )
    raise UntrustedError(
        f"{path}: its program {name!r} is not installed, and code from a run folder is not executed. Give your own "
        "copy with --program FILE, or read program.py in the run and pass --trust-program."
    )
