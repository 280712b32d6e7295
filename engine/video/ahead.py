"""Work that goes on beside the frame at hand, in threads of its own.

Pictures are decoded while the one before is looked at, and the background is followed while the
next one is. Networks, decoders and OpenCV let other threads run meanwhile, so two cores do the work
of two. Whoever waits goes on to report, so that a job can be stopped while it waits.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Generic, TypeVar

_T = TypeVar("_T")
Report = Callable[[int, int], None]

_WAIT_SECONDS = 0.1  # between two looks whether the job is to stop


class Ahead(Generic[_T]):
    """The items of another iterable, made in a thread, at most `most` of them in advance.

    Use it in a `with`: the thread has ended when that is over. The iterable ends soon after `stop`
    has been called; what it raises is raised where the items are taken.
    """

    def __init__(
        self, items: Iterable[_T], *, most: int, stop: Callable[[], None], waits: Callable[[], None]
    ) -> None:
        """Begin to make items.

        Args:
            items: are iterated over in the thread.
            most: that wait to be taken.
            stop: tells the iterable to end, from another thread.
            waits: is called now and then while nothing is there; may raise.
        """
        self._items, self._stop, self._waits = items, stop, waits
        self._ready: queue.Queue[_T | _End] = queue.Queue(maxsize=most)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._make, name="frames", daemon=True)

    def __enter__(self) -> Ahead[_T]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._stop()
        self._thread.join()

    def __iter__(self) -> Iterator[_T]:
        while True:
            try:
                item = self._ready.get(timeout=_WAIT_SECONDS)
            except queue.Empty:
                self._waits()
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def _make(self) -> None:
        end = _End(None)
        try:
            for item in self._items:
                if not self._give(item):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised again in the other thread
            end = _End(error)
        self._give(end)

    def _give(self, item: _T | _End) -> bool:
        """Whether it was taken before everything was over."""
        while not self._is_over.is_set():
            try:
                self._ready.put(item, timeout=_WAIT_SECONDS)
            except queue.Full:
                continue
            return True
        return False


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Behind:
    """Calls that are made one after the other in a thread, at most `most` of them late."""

    def __init__(self, pool: ThreadPoolExecutor, *, most: int) -> None:
        self._pool, self._most = pool, most
        self._late: list[Future[None]] = []

    def call(self, function: Callable[[], None]) -> None:
        """Call it when those before are done. Raises what one of them has raised."""
        while len(self._late) >= self._most:
            self._late.pop(0).result()
        self._late.append(self._pool.submit(function))

    def finish(self) -> None:
        """Wait for all of them."""
        while self._late:
            self._late.pop(0).result()


@contextmanager
def threads(count: int, name: str) -> Generator[ThreadPoolExecutor]:
    """A pool whose threads have ended when the `with` is over; what hasn't begun is dropped."""
    pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def patiently(function: Callable[[Report], _T], report: Report) -> _T:
    """What function(report) returns or raises, however seldom it reports.

    It works in a thread, and `report` hears of its progress from here, ten times a second: so a job
    can be stopped in the middle of what can't be interrupted. If `report` raises, so does this at
    once, and the function is stopped when it reports next; what it does until then is lost.
    """
    told = _Progress()
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="work")
    try:
        found = pool.submit(function, told.hear)
        while not found.done():
            report(told.step, told.num_steps)
            wait((found,), timeout=_WAIT_SECONDS)
        return found.result()
    finally:
        told.is_over = True
        pool.shutdown(wait=False, cancel_futures=True)


class _Progress:
    def __init__(self) -> None:
        self.step, self.num_steps, self.is_over = 0, 1, False

    def hear(self, step: int, num_steps: int) -> None:
        if self.is_over:
            raise _NobodyWaits
        self.step, self.num_steps = step, num_steps


class _NobodyWaits(Exception):
    """The job was stopped: nobody hears of this."""
