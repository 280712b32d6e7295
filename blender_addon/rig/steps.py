"""Work in small steps, so that Blender's main thread is never held for long.

A function that works in steps is a generator: it yields whenever it may be left for a while, and
returns what it has found.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias, TypeVar

Found = TypeVar("Found")
Steps: TypeAlias = Generator[None, None, Found]


def finished(steps: Steps[Found]) -> Found:
    """What the steps find, all of them taken at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
