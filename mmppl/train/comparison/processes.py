"""Work in the process of the caller, one after the other, or in several processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from ...errors import MMPPLError

LONGEST = 300  # letters of somebody else's error


class Failure(str):
    """One line that says why a piece of work came to nothing."""


def one_after_the_other(work: Sequence[Callable[[], Any]], wanted: Callable[[int], bool]) -> Iterator[tuple[int, Any]]:
    """Do pieces of work in this process.

    Args:
        work: the pieces.
        wanted: whether the piece of a number is still to be done, asked just before it begins.

    Yields:
        The number of a piece, and what it returned, or a `Failure`.
    """
    for number, piece in enumerate(work):
        if wanted(number):
            yield number, outcome_of(piece)


def side_by_side(
    work: Sequence[Callable[[], Any]], wanted: Callable[[int], bool], jobs: int
) -> Iterator[tuple[int, Any]]:
    """Do pieces of work in processes, each in one of its own: one that dies takes no other along.

    Args:
        work: the pieces; functions and arguments that can be sent to a fresh process.
        wanted: whether the piece of a number is still to be done, asked just before it begins.
        jobs: how many processes work at a time.

    Yields:
        The number of a piece, and what it returned, or a `Failure`, in the order in which they end.
    """
    fresh = multiprocessing.get_context("spawn")  # a fork would inherit the threads of PyTorch without their locks
    waiting = list(range(len(work)))
    running: dict[Any, tuple[int, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                number = waiting.pop(0)
                if wanted(number):
                    receiver, sender = fresh.Pipe(duplex=False)
                    process = fresh.Process(target=_send, args=(sender, work[number]), daemon=True)
                    process.start()
                    sender.close()  # so that the end of the process ends the pipe
                    running[receiver] = number, process
            for ready in wait(list(running)) if running else ():
                ended, worker = running.pop(ready)
                yield ended, _received(ready, worker)
    finally:
        for _, worker in running.values():  # Ctrl-C: fits leave states to go on from
            worker.terminate()
        for _, worker in running.values():
            worker.join()


def _received(receiver: Any, process: BaseProcess) -> Any:
    try:
        found = receiver.recv()
    except EOFError:
        process.join()
        return Failure(f"its process died (exit code {process.exitcode}), perhaps for want of memory")
    process.join()
    return found


def _send(sender: Connection, piece: Callable[[], Any]) -> None:
    with contextlib.redirect_stdout(sys.stderr):  # the result of the command alone goes to stdout
        sender.send(outcome_of(piece))


def outcome_of(piece: Callable[[], Any]) -> Any:
    """Do a piece of work; where it fails, return the reason as a `Failure`. Ctrl-C goes through."""
    try:
        return piece()
    except MMPPLError as error:
        return Failure(" ".join(str(error).split()))
    except Exception as error:  # what fails is one contender, and the work of the others must not be lost
        return Failure(f"{type(error).__name__}: {' '.join(str(error).split())[:LONGEST]}")
