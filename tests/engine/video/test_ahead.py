"""Work in threads gives the same as without, ends when it is to end, and passes errors on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from engine.video.ahead import Ahead, Behind, in_thread, threads


class _Stop(Exception):
    pass


def _nothing() -> None:
    return


def _stop() -> None:
    raise _Stop


def test_items_come_in_order_and_few_wait() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    taken: list[int] = []
    with Ahead(items(), most=2, stop=_nothing, waits=_nothing) as ahead:
        for item in ahead:
            taken.append(item)
            assert len(made) <= len(taken) + 4  # two wait, one is held, one is being made

    assert taken == list(range(20))


def test_an_error_of_the_thread_is_raised_where_items_are_taken() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise _Stop

    taken: list[int] = []
    with pytest.raises(_Stop), Ahead(items(), most=2, stop=_nothing, waits=_nothing) as ahead:
        taken.extend(ahead)

    assert taken == [1]


def test_who_waits_can_stop_and_the_thread_ends() -> None:
    go_on = threading.Event()

    def items() -> Iterator[int]:
        assert go_on.wait(10)
        yield 1

    began = time.perf_counter()
    with pytest.raises(_Stop), Ahead(items(), most=2, stop=go_on.set, waits=_stop) as ahead:
        list(ahead)

    assert time.perf_counter() - began < 5
    assert all(thread.name != "frames" for thread in threading.enumerate())


def test_late_calls_keep_their_order_and_their_errors() -> None:
    done: list[int] = []
    with threads(1, "late") as pool:
        behind = Behind(pool, most=2)
        for number in range(10):
            behind.call(lambda number=number: done.append(number))
        behind.finish()
        assert done == list(range(10))
        behind.call(_stop)
        with pytest.raises(_Stop):
            behind.finish()


def test_a_function_in_a_thread_returns_raises_or_is_left() -> None:
    assert in_thread(lambda: 3, _nothing) == 3
    with pytest.raises(_Stop):
        in_thread(_stop, _nothing)
    free = threading.Event()
    with pytest.raises(_Stop):
        in_thread(lambda: free.wait(10), _stop)
    free.set()
