"""The application: which commands there are, where their results go, and what an error becomes.

Commands return the text of their result. It alone goes to stdout; whatever is printed on the way goes to stderr.
"""

import contextlib
import errno
import functools
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import typer
import typer.main

import mmppl
from mmppl.errors import MMPPLError

from ..base.text import printable
from .bench import bench
from .compare import compare
from .data import data
from .depend import depend
from .evaluate import evaluate
from .fit import fit
from .plot import plot
from .progress import LogLines
from .query import query
from .show import show
from .tune import tune

app = typer.Typer(
    name="mmppl",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 110},
)


REMEDIES = {
    errno.ENOSPC: "free some and run again",
    errno.EDQUOT: "free some and run again",
    errno.EFBIG: "raise the limit of the size of files (ulimit -f) and run again",
    errno.EMFILE: "raise the limit of open files (ulimit -n) and run again",
    errno.EACCES: "change its permissions or choose another place",
    errno.EPERM: "change its permissions or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.EMLINK: "choose another place",
    errno.EIO: "look after the disk, or choose another place",
}
OF_A_PATH = {  # errors of a path that the user gave
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove the link that leads to itself",
}


def _printing(command: Callable[..., str]) -> Callable[..., None]:
    """The command, whose returned text is all that reaches stdout."""

    @functools.wraps(command)
    def run(*args: object, **options: object) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            text = command(*args, **options)
        print(printable(text, keep="\n"), flush=True)

    run.__annotations__ = command.__annotations__ | {"return": None}
    return run


for _command, _line in (
    (fit, "Fit a program to data and leave a run folder."),
    (query, "Ask a run about rows of data."),
    (evaluate, "Measure how good the answers of one or several runs are."),
    (tune, "Search settings of a program on held-out rows."),
    (compare, "Put programs and runs side by side on the same rows."),
    (plot, "Draw the figures of a run."),
    (show, "Show what a program or a run is."),
    (data, "List the recipes, or describe a file."),
    (depend, "Estimate how far modalities depend on each other."),
    (bench, "Time kernels and a training step on this machine."),
):
    app.command(_command.__name__, short_help=_line)(_printing(_command))


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Fit models of several modalities, any of which may be missing, and ask them what they know.

    \b
    mmppl fit cmmd --out runs/cmmd           fit a model to its default data
    mmppl query runs/cmmd --rows 0:5         ask it about five test rows
    """
    if version:
        print(f"mmppl {mmppl.__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line (default: of this process) and return its exit code.

    0 done, 1 failure, 2 usage, 3 untrusted code refused, 4 run folder locked, 5 bad data, 130 interrupted.
    """
    words = list(sys.argv[1:] if args is None else args)
    if args is None:
        _wait_passively()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a × must not fail where the terminal knows ASCII only
    logged, lines = logging.getLogger("mmppl"), LogLines()
    logged.addHandler(lines)
    try:
        command, given = typer.main.get_command(app), [w for w in words if w != "--debug"]
        with _interrupted_by_signals(), command.make_context("mmppl", given, obj=words) as context:
            command.invoke(context)
        sys.stdout.flush()
        return 0
    except typer.Exit as stop:
        return stop.exit_code
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in words:
            print(printable(traceback.format_exc(), keep="\n"), file=sys.stderr, end="")
        code, line = _explain(error, next((word for word in words if not word.startswith("-")), "mmppl"))
        if line:
            print(f"mmppl: {printable(' '.join(line.split()))}", file=sys.stderr)
        if isinstance(error, OSError):
            _drop_stdout_if_lost()
        return code
    finally:
        logged.removeHandler(lines)


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """What asks a process to end (SIGTERM, and SIGHUP where it is not ignored, as under nohup) is Ctrl-C."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():  # the only one that may
        for number in filter(None, (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP"))):
            if signal.getsignal(number) == signal.SIG_DFL:  # who calls this function keeps a handler of its own
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_passively() -> None:
    """Let threads that have nothing to compute sleep, not spin, which on a busy machine keeps the others from working.

    OpenMP reads this when torch is loaded. What the user has set stays.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def _explain(error: BaseException, command: str) -> tuple[int, str]:
    """Exit code and line of an error; an empty line where there is nobody to read it."""
    if isinstance(error, MMPPLError):
        return error.exit_code, str(error) if error.exit_code == 130 else f"error: {error}"
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted"
    if isinstance(error, BrokenPipeError):
        return 1, ""
    if hasattr(error, "format_message"):  # of typer's parser, wherever the installed version keeps the class
        return 2, f"error: {_usage(error)}"
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        remedy = (REMEDIES | OF_A_PATH).get(error.errno or 0)
        code = 2 if error.errno in OF_A_PATH else 1
        return code, f"error: {command}: {place}{error.strerror}{f'; {remedy}' if remedy else ''}"
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError") or "can't allocate memory" in str(error):  # torch's
        return 1, "error: out of memory: take a smaller --batch-size or --memory, or fewer --rows"
    return 1, f"internal error: {type(error).__name__}: {error}; run again with --debug"


def _usage(error: BaseException) -> str:
    """What the parser found wrong, the nearest option, and where to read on."""
    near = list(getattr(error, "possibilities", None) or [])
    if near:
        text = f"{getattr(error, 'message', error)}. Did you mean {near[0]}?"
    else:
        text = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "mmppl"
    return f"{text.rstrip('.')}{'' if text.endswith('?') else '.'} See `{path} --help`."


def _drop_stdout_if_lost() -> None:
    """What is still buffered for a pipe or a disk that takes no more would fail again when Python ends."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
