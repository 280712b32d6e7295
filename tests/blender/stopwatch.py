"""Times of the main thread, fair on a slow or crowded machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

_YARDSTICK_MS = 6.0  # of the machine that limits were set on, alone


def fair_ms(work: Callable[[], object], rounds: int = 7) -> float:
    """Milliseconds of this thread that work takes, the best of some rounds.

    Counted is this thread's processor time, as other programs run on the machine; where they slow
    the processor itself down, what the yardstick takes longer is taken off.
    """
    times: list[float] = []
    before = _slowness()
    for _ in range(rounds):
        begun = time.thread_time()
        work()
        taken = (time.thread_time() - begun) * 1000
        after = _slowness()
        times.append(taken / ((before + after) / 2))
        before = after
    return min(times)


def _slowness() -> float:
    """How many times slower this machine is at the moment than the one limits were set on; 1 up.

    The yardstick is many short calls of NumPy on a few hundred frames, as keying is.
    """
    matrices = np.broadcast_to(np.eye(3), (200, 3, 3))
    begun = time.thread_time()
    for _ in range(420):
        matrices = matrices @ matrices
        np.concatenate([matrices[..., k] for k in range(3)], axis=-1)
        [float(value) for value in matrices[:40, 0, 0]]
    return max(1.0, (time.thread_time() - begun) * 1000 / _YARDSTICK_MS)
