"""Turns of threads: their order, what each finds when its turn comes, and that nobody waits for ever."""

import threading
import time

import pyro
import pytest
import torch
from pyro import poutine
from pyro.poutine import runtime

from mmppl.base.precision import current_matmul, matmul_setting
from mmppl.base.turns import Queue, give_way, others_turn, own_settings, taking_turns, threads_of, turn


def in_thread(work):
    """What a function returns in a thread of its own, which is waited for."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(20)
    assert found, "the thread waits for ever"
    return found[0]


def waiting(queue_or_none=None):
    from mmppl.base import turns

    return len((queue_or_none or turns._QUEUE)._waiting)


def started(*works):
    """Threads that wait for a turn, in this order."""
    threads = []
    for work in works:
        before = waiting()
        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        while waiting() == before:
            time.sleep(0.001)
    return threads


def in_a_turn(work):
    def run():
        with turn():
            work()

    return run


def test_turns_come_in_the_order_in_which_they_are_asked_for():
    order = []
    with turn():
        threads = started(*(in_a_turn(lambda n=n: order.append(n)) for n in range(5)))
        assert order == []
    for thread in threads:
        thread.join(20)
    assert order == list(range(5))


def test_a_turn_inside_a_turn_and_letting_others_go_gives_all_of_it_back():
    with turn(), turn():
        with others_turn():
            assert in_thread(lambda: in_a_turn(lambda: None)() is None)
        done = []
        (thread,) = started(in_a_turn(lambda: done.append(1)))
        time.sleep(0.02)
        assert not done  # held again
    thread.join(20)
    assert done


def test_an_error_ends_the_turn():
    with pytest.raises(ZeroDivisionError), turn():
        raise ZeroDivisionError
    assert in_thread(lambda: in_a_turn(lambda: None)() is None)


def test_a_thread_that_is_interrupted_while_it_waits_is_forgotten(monkeypatch):
    queue = Queue()
    queue.acquire()

    class Interrupted:
        def __init__(self):
            self.asked = 0

        def acquire(self):
            self.asked += 1
            if self.asked == 2:
                raise KeyboardInterrupt

        def release(self):
            raise AssertionError("a turn was handed to a thread that is gone")

    def wait():
        with monkeypatch.context() as patch:
            patch.setattr(threading, "Lock", Interrupted)
            try:
                queue.acquire()
            except KeyboardInterrupt:
                return True

    assert in_thread(wait)
    assert not queue.waited_for
    queue.release()
    assert not queue.held


def test_a_work_keeps_its_random_numbers_and_so_do_those_beside_it():
    expected = torch.randn(4, generator=torch.Generator().manual_seed(7))
    before, seen = torch.get_rng_state(), []
    with own_settings(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        first = torch.randn(2)
        (thread,) = started(in_a_turn(lambda: seen.append((torch.get_rng_state(), torch.rand(100)))))
        give_way()
        second = torch.randn(2)
    thread.join(20)
    torch.testing.assert_close(torch.cat([first, second]), torch.cat([expected[:2], expected[2:]]), rtol=0, atol=0)
    assert torch.equal(seen[0][0], before)


def test_a_work_keeps_handlers_checks_threads_and_matrix_products():
    checks, threads, matmul = pyro.distributions.is_validation_enabled(), torch.get_num_threads(), current_matmul()
    seen = []

    def look():
        with pyro.plate("rows", 3):  # the same name and dimension as outside
            seen.append(
                (
                    len(runtime._PYRO_STACK),
                    pyro.distributions.is_validation_enabled(),
                    torch.get_num_threads(),
                    current_matmul(),
                )
            )

    with own_settings(), threads_of(threads + 2), pyro.validation_enabled(not checks):
        setting = matmul_setting("bf16")
        with poutine.trace(), pyro.plate("rows", 5):
            inside = list(runtime._PYRO_STACK)
            threads_waiting = started(in_a_turn(look))
            give_way()
            assert inside == runtime._PYRO_STACK
            assert pyro.distributions.is_validation_enabled() != checks
            assert torch.get_num_threads() == threads + 2
            assert setting is None or current_matmul() == "onednn"
        matmul_setting(setting)
    for thread in threads_waiting:
        thread.join(20)
    assert seen == [(1, checks, threads, matmul)]
    assert (torch.get_num_threads(), current_matmul()) == (threads, matmul)
    assert not runtime._PYRO_STACK and pyro.distributions.is_validation_enabled() == checks


def test_two_works_beside_each_other_and_one_inside_another():
    def draw(seed):
        found = []
        with own_settings(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for _ in taking_turns(range(20)):
                found.append(torch.rand(1).item())
                with own_settings(), torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)
        return found

    alone = [draw(seed) for seed in range(3)]
    found = {}
    threads = [threading.Thread(target=lambda s=s: found.update({s: draw(s)}), daemon=True) for s in range(3)]
    with turn():  # so that they begin together
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join(20)
    assert [found[seed] for seed in range(3)] == alone
