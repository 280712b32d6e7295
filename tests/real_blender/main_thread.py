"""How long calls of the add-on hold Blender's main thread: draws, operators, timers, handlers.

Writing a result and pushing an undo step are measured apart: they are allowed to take longer.
On a computer that has more to do than processors, other programs hold every call up: there the
processor time of the thread counts, on an idle one the time on the clock, waiting included.
"""

# pyright: basic

from __future__ import annotations

import functools
import importlib
import os
import time
from collections.abc import Callable
from types import ModuleType

import bpy

LIMIT_MS = 20.0
_IS_BUSY = os.getloadavg()[0] > (os.cpu_count() or 1)
_METHODS = ("draw", "poll", "execute", "invoke", "modal")
# Further timers, and what handlers and the search of a field call: module and function.
_CALLED_BY_BLENDER = (
    ("scene.pump", "_redraw_sidebars"),
    ("scene.pump", "_redraw_late"),
    ("scene.pump", "redraw_soon"),
    ("scene.pump", "cancel_all"),
    ("scene.target", "_find_asked"),
    ("ui.preferences", "refresh_view"),
    ("ui.prompts", "matching"),
)


def _now() -> float:
    return time.thread_time() if _IS_BUSY else time.perf_counter()


class MainThreadWatch:
    """Longest time of each call in milliseconds, from when it was made."""

    def __init__(self, extension: str) -> None:
        self.longest_ms: dict[str, float] = {}
        self._apart_ms = 0.0  # of what ran inside the call that is being measured
        registration = importlib.import_module(f"{extension}.registration")
        pump = importlib.import_module(f"{extension}.scene.pump")
        delivery = importlib.import_module(f"{extension}.scene.delivery")
        for cls in registration.CLASSES:
            for name in _METHODS:
                if name in vars(cls):
                    self._watch_method(cls, name)
        pump.poll = self._watched(pump.poll, "timer")
        for name, called in _CALLED_BY_BLENDER:
            module = importlib.import_module(f"{extension}.{name}")
            setattr(module, called, self._watched(getattr(module, called), called.strip("_")))
        self._set_apart(delivery, "deliver", "writing a result")
        self._set_apart_undo(pump)

    def over_limit(self) -> dict[str, float]:
        """Calls that took too long at least once, the writing itself left out."""
        return {
            name: round(ms, 1)
            for name, ms in self.longest_ms.items()
            if ms > LIMIT_MS and name not in ("writing a result", "undo step")
        }

    def report(self) -> str:
        """The ten longest."""
        longest = sorted(self.longest_ms.items(), key=lambda item: -item[1])[:10]
        clock = "of processor time" if _IS_BUSY else "by the clock"
        return f"main thread, ms {clock}: " + ", ".join(f"{name} {ms:.1f}" for name, ms in longest)

    def _watch_method(self, cls: type, name: str) -> None:
        found = vars(cls)[name]
        label = f"{cls.__name__}.{name}"
        call = self._watched(getattr(found, "__func__", found), label)
        # Blender hands over as many arguments as the function's code says that it takes.
        if isinstance(found, classmethod):
            setattr(cls, name, classmethod(lambda cls, context: call(cls, context)))
        elif name in ("invoke", "modal"):
            setattr(cls, name, lambda self, context, event: call(self, context, event))
        else:
            setattr(cls, name, lambda self, context: call(self, context))

    def _watched(self, call: Callable, label: str) -> Callable:
        @functools.wraps(call)
        def timed(*args: object, **words: object) -> object:
            outer, self._apart_ms = self._apart_ms, 0.0
            begun = _now()
            try:
                return call(*args, **words)
            finally:
                own = 1000 * (_now() - begun) - self._apart_ms
                self.longest_ms[label] = max(self.longest_ms.get(label, 0.0), own)
                self._apart_ms += outer

        return timed

    def _set_apart(self, module: ModuleType, name: str, label: str) -> None:
        call = getattr(module, name)

        @functools.wraps(call)
        def timed(*args: object, **words: object) -> object:
            begun = _now()
            try:
                return call(*args, **words)
            finally:
                spent = 1000 * (_now() - begun)
                self._apart_ms += spent
                self.longest_ms[label] = max(self.longest_ms.get(label, 0.0), spent)

        setattr(module, name, timed)

    def _set_apart_undo(self, pump: ModuleType) -> None:
        """bpy.ops can't be patched: the pump gets a bpy of its own whose undo_push is timed."""

        class TimedEd:
            undo_push = staticmethod(bpy.ops.ed.undo_push)

        self._set_apart(TimedEd, "undo_push", "undo step")

        class TimedOps:
            ed = TimedEd

        class TimedBpy:
            ops = TimedOps

            def __getattr__(self, name: str) -> object:
                return getattr(bpy, name)

        pump.bpy = TimedBpy()
