"""Times of the main thread, fair on a slow or crowded machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

_YARDSTICK_MS = 6.0  # of the machine that limits were set on, alone


def fair_ms(work: Callable[[], object], rounds: int = 7) -> float:
    """Milliseconds of this thread that work takes, the best of some rounds.

    A processor shared with other programs is slower too while it's ours. So a yardstick is timed
    right before and after, and where it takes longer than it should, work is taken to as well.
    """
    times: list[float] = []
    before = _yardstick_ms()
    for _ in range(rounds):
        begun = time.thread_time()
        work()
        taken = (time.thread_time() - begun) * 1000
        after = _yardstick_ms()
        times.append(taken / max(1.0, (before + after) / 2 / _YARDSTICK_MS))
        before = after
    return min(times)


def _yardstick_ms() -> float:
    """What work of the same kind takes: many short calls of NumPy on a few hundred frames."""
    matrices = np.broadcast_to(np.eye(3), (200, 3, 3))
    begun = time.thread_time()
    for _ in range(420):
        matrices = matrices @ matrices
        np.concatenate([matrices[..., k] for k in range(3)], axis=-1)
        [float(value) for value in matrices[:40, 0, 0]]
    return (time.thread_time() - begun) * 1000
