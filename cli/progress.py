"""What a fit says while it runs, on stderr: a bar on a terminal, elsewhere a plain line now and then."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..base.text import printable

if TYPE_CHECKING:
    from mmppl.train.loop import Progress

EVERY = 10.0  # seconds between plain lines


def say(line: str) -> None:
    """Print a line for the user, beside the result."""
    print(printable(line), file=sys.stderr, flush=True)


class LogLines(logging.Handler):
    """Says what the library logs, as Python does where no handler is set up."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message."""
        say(record.getMessage())


@contextlib.contextmanager
def talk() -> "Iterator[Callable[[str | Progress], None]]":
    """A function for `say=`: hears messages and progress, and shows them."""
    if sys.stderr.isatty():
        with _bar() as log:
            yield log
    else:
        yield _lines()


@contextlib.contextmanager
def _bar() -> "Iterator[Callable[[str | Progress], None]]":
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    parts = [rich.BarColumn(), rich.TaskProgressColumn(), rich.TextColumn("{task.fields[state]}", markup=False)]
    with rich.Progress(*parts, console=console, transient=True) as bar:
        task = bar.add_task("fit", total=None, state="", visible=False)

        def log(event: "str | Progress") -> None:
            if isinstance(event, str):
                console.print(printable(event), markup=False, highlight=False)
                return
            bar.update(task, total=event.steps, completed=event.step, state=_state(event), visible=True)

        yield log


def _lines() -> "Callable[[str | Progress], None]":
    last = time.monotonic()

    def log(event: "str | Progress") -> None:
        nonlocal last
        if isinstance(event, str):
            say(event)
        elif time.monotonic() - last >= EVERY:
            last = time.monotonic()
            say(_state(event))

    return log


def _state(event: "Progress") -> str:
    rate, left = f"{event.rows_per_second:,.0f} rows/s", f"{_duration(event.eta_seconds)} left"
    place = f"epoch {event.epoch}/{event.epochs}  step {event.step:,}/{event.steps:,}"
    return f"{event.phase}: {place}  loss {event.loss:.4g}  {rate}  {left}"


def _duration(seconds: float) -> str:
    """3 h 20 min, 4 min 10 s, 12 s."""
    if seconds != seconds or seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
