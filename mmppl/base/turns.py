"""Turns of threads at what a process has only once: Pyro's handlers, PyTorch's random generator, its number of threads,
and how it computes matrix products.

A thread uses or changes them in its turn only. Turns are given in the order in which threads ask for them. A long piece
of work, such as a fit, keeps values of its own (`own_settings`) and lets others go first between its steps
(`give_way`); whoever has the next turn finds their own values again. A thread of the caller's that changes these things
by itself, without a turn, disturbs whatever goes on beside it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

import pyro
import torch
from pyro import poutine
from pyro.poutine import runtime

from .precision import matmul_setting

T = TypeVar("T")


class Queue:
    """A lock that threads get in the order in which they ask for it, and that its holder may take again."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._holder: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    @property
    def waited_for(self) -> bool:
        """Whether another thread waits."""
        return bool(self._waiting)

    @property
    def held(self) -> bool:
        """Whether this thread holds it."""
        return self._holder == threading.get_ident()

    def acquire(self, depth: int = 1) -> None:
        """Wait for it, `depth` times at once."""
        own = threading.get_ident()
        with self._guard:
            if self._holder in (None, own):
                self._holder, self._depth = own, self._depth + depth
                return
            ticket = own, threading.Lock()
            ticket[1].acquire()
            self._waiting.append(ticket)
        try:
            ticket[1].acquire()  # until the holder hands over
        except BaseException:  # Ctrl-C
            with self._guard:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                else:
                    self._hand_over()
            raise
        self._depth = depth

    def release(self) -> None:
        """Give it back once."""
        with self._guard:
            self._depth -= 1
            if not self._depth:
                self._hand_over()

    def release_all(self) -> int:
        """Give it back as often as it was taken.

        Returns:
            How often that was.
        """
        with self._guard:
            depth, self._depth = self._depth, 0
            self._hand_over()
        return depth

    def forget_others(self) -> None:
        """In a forked process: the other threads are gone."""
        self._guard = threading.Lock()
        self._waiting.clear()
        if not self.held:
            self._holder, self._depth = None, 0

    def _hand_over(self) -> None:
        self._holder = None
        if self._waiting:
            self._holder, ticket = self._waiting.popleft()
            ticket.release()


class Settings:
    """What a piece of work has set of the process's settings, while others have their turns.

    Attributes:
        threads: that PyTorch computes with.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._put_back: list[Callable[[], object]] = []

    def take(self) -> None:
        """Take the process's settings down, but for the threads, which PyTorch counts for each thread apart."""
        random, matmul, checks = torch.get_rng_state(), matmul_setting(), _validations()
        handlers, plates = list(runtime._PYRO_STACK), list(runtime._DIM_ALLOCATOR._stack)
        self._put_back = [
            lambda: torch.set_rng_state(random),
            lambda: matmul_setting(matmul),
            lambda: runtime._PYRO_STACK.__setitem__(slice(None), handlers),
            lambda: runtime._DIM_ALLOCATOR._stack.__setitem__(slice(None), plates),
            *(partial(part.enable_validation, on) for part, on in checks),
        ]
        if torch.cuda.is_initialized():
            self._put_back.append(partial(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))

    def put_back(self) -> None:
        """Give the process these settings."""
        for setting in self._put_back:
            setting()


def _validations() -> list[tuple[Any, bool]]:
    return [(part, part.is_validation_enabled()) for part in (pyro.distributions, pyro.infer, poutine)]


_QUEUE = Queue()
_ROOT = Settings(0)  # the caller's own
_own: ContextVar[Settings] = ContextVar("settings of this thread's work", default=_ROOT)
_present = _ROOT  # whose settings the process has
_open = 0  # pieces of work with settings of their own
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_QUEUE.forget_others)


@contextmanager
def turn() -> Iterator[None]:
    """Wait for a turn, and use Pyro, the random generator and PyTorch's settings alone until it ends.

    A turn may be taken inside a turn.

    Example:
        >>> with turn(), torch.random.fork_rng(devices=[]):
        ...     noise = torch.randn(3)
    """
    _QUEUE.acquire()
    try:
        _switch_to(_own.get())
        yield
    finally:
        _QUEUE.release()


@contextmanager
def own_settings() -> Iterator[None]:
    """A turn in which whatever is set inside stays this work's own, also when it gives way to others."""
    global _present, _open
    with turn():
        before = _own.get()
        before.threads = torch.get_num_threads()
        before.take()
        work = Settings(before.threads)
        token = _own.set(work)
        _present, _open = work, _open + 1
        try:
            yield
        finally:
            _own.reset(token)
            _present, _open = before, _open - 1


def give_way() -> None:
    """Inside `own_settings`: let those who wait have their turn, and go on after them."""
    if _QUEUE.waited_for:
        with others_turn():
            pass


def taking_turns(parts: Iterable[T]) -> Iterator[T]:
    """Go through the parts of a work in `own_settings`, and give way between them.

    Args:
        parts: of the work.

    Yields:
        Each of them.
    """
    for number, part in enumerate(parts):
        if number:
            give_way()
        yield part


@contextmanager
def others_turn() -> Iterator[None]:
    """Let others have their turns inside a `with` block, in which code of the caller's runs that may wait for them."""
    if not _QUEUE.held:
        yield
        return
    depth = _QUEUE.release_all()
    try:
        yield
    finally:
        _return(depth)


def _return(depth: int) -> None:
    """Wait for a turn again. Ctrl-C has to wait, too: what was set can be undone in a turn only."""
    interrupted: BaseException | None = None
    while not _QUEUE.held:
        try:
            _QUEUE.acquire(depth)
        except BaseException as error:
            interrupted = error
    _switch_to(_own.get())
    if interrupted is not None:
        raise interrupted


@contextmanager
def threads_of(number: int) -> Iterator[None]:
    """Compute with so many threads inside a `with` block in `own_settings`; the caller's are left as they were.

    Args:
        number: of the threads.
    """
    work, before = _own.get(), torch.get_num_threads()
    torch.set_num_threads(number)
    work.threads = number
    try:
        yield
    finally:
        torch.set_num_threads(before)
        work.threads = before


def _switch_to(work: Settings) -> None:
    """Give the process the settings of a work, after taking down those of the one before."""
    global _present
    if _present is not work:
        _present.take()
        work.put_back()
        if work.threads != _present.threads:
            torch.set_num_threads(work.threads)
        _present = work
    if _open and torch.get_num_threads() != work.threads:  # a new thread begins with what another has set
        torch.set_num_threads(work.threads)
