"""What the programs of this folder share: their outcome, and a limit of time for what may hang."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Trial:
    """The outcome of one program.

    Args:
        figures: name → number, such as how many kills there were and how many of them lost a bit.
        failures: one line for each thing that went wrong; none: all is well.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class HungError(BaseException):
    """Something took too long. A base exception, so that no handler of errors catches it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `HungError` inside a `with` block that takes longer than so many seconds (Unix, main thread)."""

    def stop(*_: object) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
