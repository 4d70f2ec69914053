"""Running trials in several processes beside each other."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

import torch

from ...errors import FitError
from .runner import Request, Runner

SPAWNED = multiprocessing.get_context("spawn")  # a fork would share the locks of PyTorch's threads


class Job:
    """A process that runs one trial after the other, as it is told.

    Args:
        request: what is tuned.
    """

    def __init__(self, request: Request) -> None:
        self.ours, theirs = SPAWNED.Pipe()
        self.process = SPAWNED.Process(target=_work, args=(theirs, request), daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is the end of what it says
        self.busy = False

    def begin(self, number: int) -> None:
        """Let it run a trial; `number` is how many have ended, or run beside it."""
        self.busy = True
        with contextlib.suppress(OSError):  # it is dead, which `result` finds
            self.ours.send(number)

    def result(self) -> int | None:
        """Wait for the trial, and return its number; None: the process has died.

        Raises:
            MMPPLError: there is nothing that any trial could do better.
        """
        self.busy = False
        try:
            said = self.ours.recv()
        except (EOFError, OSError):
            return None
        if isinstance(said, BaseException):
            raise said
        return int(said)

    def end(self) -> None:
        """End it at once; what it has begun is run again."""
        self.process.terminate()
        self.process.join()
        self.ours.close()


def run_in_processes(runner: Runner, trials: int, deadline: float) -> Iterator[int]:
    """Run trials in several processes beside each other. One that is killed is replaced, and its trial run again.

    Args:
        runner: that of this process, which only counts.
        trials: that are to have ended in all.
        deadline: the time, of the monotonic clock, from which on none begins.

    Yields:
        The number of each trial that has ended.

    Raises:
        FitError: a process died before it had a trial.
        MMPPLError: as of `Runner.run`.
    """
    request = runner.request
    jobs = [Job(request) for _ in range(min(request.jobs, trials - runner.trials.ended))]
    try:
        while True:
            for job in jobs:
                running = sum(one.busy for one in jobs)
                begun = runner.trials.ended + running
                if not job.busy and begun < trials and time.monotonic() < deadline:
                    job.begin(begun)
            if not any(job.busy for job in jobs):
                return
            ready = connection.wait([job.ours for job in jobs if job.busy])
            for place, job in enumerate(jobs):
                if job.ours not in ready:
                    continue
                number = job.result()
                if number is not None:
                    yield number
                    continue
                job.process.join()
                if not runner.trials.bury(job.process.pid):
                    raise FitError("tune: a process of --jobs died before its first trial. Try --jobs 1.")
                jobs[place] = Job(request)
    finally:
        for job in jobs:
            job.end()


def _work(theirs: Connection, request: Request) -> None:
    """Run trials as the process says that has begun this one, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // request.jobs))
    said: Any = None
    runner: Runner | None = None
    while True:
        try:
            number = theirs.recv()
        except EOFError:
            return
        try:
            runner = runner or Runner(request)
            said = runner.run(number)
        except Exception as error:
            said = error
        theirs.send(said)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
