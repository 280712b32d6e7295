"""Progress over many pieces of work of different size: a bar, or a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 3.0


class WorkProgress:
    """How far a list of pieces is, weighed by their sizes, with rate and time left."""

    def __init__(self, text: str, things: str, sizes: Sequence[int]) -> None:
        self._text, self._things, self._sizes = text, things, sizes
        self._total = sum(sizes)
        self._shares = [0.0] * len(sizes)
        self._done = self._left_out = 0
        self._began = self._last = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(text, total=self._total)

    def __enter__(self) -> WorkProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def under_way(self, index: int, share: float) -> None:
        """A piece is done to that share."""
        self._shares[index] = share
        self._tell()

    def finished(self, index: int, *, is_left_out: bool) -> None:
        """A piece is done."""
        self._shares[index] = 1.0
        self._done += 1
        self._left_out += is_left_out
        self._tell()

    def line(self) -> str:
        """All of it in a line."""
        seconds = time.monotonic() - self._began
        share = self._share()
        per_minute = 60 * self._done / max(seconds, 1e-3)
        left = _in_words(seconds * (1 - share) / share) if share > 0.001 else "unknown time"
        told = f"{self._done} of {len(self._sizes)} {self._things}, {share:.1%}"
        told += f", {per_minute:.1f} a minute, about {left} left"
        return told + (f"; {self._left_out} left out" if self._left_out else "")

    def _share(self) -> float:
        done = sum(s * size for s, size in zip(self._shares, self._sizes, strict=True))
        return done / max(self._total, 1)

    def _tell(self) -> None:
        if self._bar is not None:
            text = f"{self._text}: {self.line()}"
            self._bar.update(self._task, completed=self._share() * self._total, description=text)
            return
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            print(f"{self._text}: {self.line()}", file=sys.stderr, flush=True)


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
