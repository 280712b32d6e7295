"""Work in threads gives the same as without, ends when it is to end, and passes errors on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from engine.video.ahead import Ahead, Behind, patiently, threads


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


def test_a_function_returns_and_raises_as_it_would() -> None:
    assert patiently(lambda report: 3, _no_report) == 3
    with pytest.raises(_Stop):
        patiently(lambda report: _stop(), _no_report)


def test_progress_is_heard_in_the_thread_that_asked() -> None:
    heard: list[tuple[int, int, str]] = []

    def work(report: Callable[[int, int], None]) -> None:
        report(2, 5)
        time.sleep(0.5)

    patiently(work, lambda step, of: heard.append((step, of, threading.current_thread().name)))

    assert (2, 5, threading.current_thread().name) in heard
    assert all(name == threading.current_thread().name for _, _, name in heard)


def test_a_silent_function_can_be_stopped_and_ends_when_it_reports() -> None:
    free, ended = threading.Event(), threading.Event()

    def work(report: Callable[[int, int], None]) -> None:
        free.wait(10)
        try:
            report(1, 2)
        finally:
            ended.set()
        raise AssertionError("it went on")

    began = time.perf_counter()
    with pytest.raises(_Stop):
        patiently(work, lambda step, of: _stop())
    assert time.perf_counter() - began < 1.0
    free.set()
    assert ended.wait(10)


def _no_report(step: int, num_steps: int) -> None:
    return
