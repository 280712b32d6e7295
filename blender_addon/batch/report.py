"""What a batch tells: a line of JSON for each job, and notes for people beside it.

The lines go to standard output, everything else to standard error: also what Blender and its
exporters print, so that a line of JSON is never torn.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from .jobs_file import BatchJob

DONE, SKIPPED, FAILED, INTERRUPTED = "done", "skipped", "failed", "interrupted"
NOTE_INTERVAL_S = 3.0

Note = Callable[[str], None]


class ReportError(Exception):
    """The report can't be written; the message is one line."""


@dataclass(kw_only=True)
class Outcome:
    """How a job went."""

    job: BatchJob
    state: str = DONE  # DONE, SKIPPED (it had been done already), FAILED, INTERRUPTED
    message: str = ""  # why it failed, or why it was skipped
    action: str = ""  # name of the action; "" where only an export is left of it
    seed: int | None = None
    model: str = ""
    model_hash: str = ""
    start_frame: int | None = None
    num_frames: int | None = None
    warnings: list[str] = field(default_factory=list[str])
    seconds: float = 0.0  # that it took

    @property
    def is_done(self) -> bool:
        """The motion is there."""
        return self.state in (DONE, SKIPPED)

    def line(self) -> str:
        """One line of JSON."""
        job = self.job
        values: dict[str, Any] = {
            "job": job.number,
            "state": self.state,
            "done": self.is_done,
            "armature": job.armature,
            job.source: job.wish,
            "seed": job.seed if self.seed is None else self.seed,
            "model": self.model or job.model,
            "model_hash": self.model_hash,
            "action": self.action,
            "start_frame": self.start_frame,
            "num_frames": self.num_frames,
            "export": str(job.export) if job.export is not None else None,
            "message": self.message,
            "warnings": self.warnings,
            "seconds": round(self.seconds, 2),
        }
        return json.dumps(values, ensure_ascii=False, allow_nan=False)


class ReportFile:
    """The lines of a batch in a file of their own, whole after each job.

    A batch that goes on keeps the lines of jobs that it has not come to yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = _earlier_lines(path)

    def add(self, outcome: Outcome) -> None:
        """Write the line of one job.

        Raises:
            ReportError: the file can't be written.
        """
        self._lines[outcome.job.number] = outcome.line()
        lines = [self._lines[number] for number in sorted(self._lines)]
        write_text(self._path, "".join(f"{line}\n" for line in lines))

    def keep(self, numbers: Sequence[int]) -> None:
        """Forget the lines of jobs that the file of this batch does not have."""
        self._lines = {number: self._lines[number] for number in numbers if number in self._lines}


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        ReportError: it can't be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise ReportError(f"{path} can't be written ({error.strerror})") from error


def note(text: str) -> None:
    """A line for people, on standard error."""
    sys.stderr.write(f"marey: {' '.join(text.split())}\n")
    sys.stderr.flush()


class Progress:
    """Tells how far a job is, every few seconds, with the rate and the time left."""

    def __init__(self, what: str, tell: Note, *, clock: Callable[[], float] = time.monotonic):
        self._what, self._tell, self._clock = what, tell, clock
        self._told_at = clock()
        self._first: tuple[float, int] | None = None

    def report(self, step: int, num_steps: int) -> None:
        """step of num_steps are done."""
        now = self._clock()
        first_time, first_step = self._first = self._first or (now, step)
        if now - self._told_at < NOTE_INTERVAL_S or step <= first_step:
            return
        self._told_at = now
        rate = (step - first_step) / max(now - first_time, 1e-9)
        left = (num_steps - step) / rate
        self._tell(
            f"{self._what}: step {step} of {num_steps}, {rate:.1f} steps/s, about {left:.0f} s left"
        )


@contextlib.contextmanager
def lines_on_stdout() -> Generator[Callable[[str], None]]:
    """Give a function that prints a line on standard output, and send all else to standard error.

    Blender's C code prints past sys.stdout, so the file descriptors are what is changed.
    """
    _flush_all()
    try:
        lines = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # no such streams, as in a program without a console
        yield lambda line: print(line, flush=True)  # noqa: T201
        return

    def tell(line: str) -> None:
        data = f"{line}\n".encode(errors="backslashreplace")
        while data:
            data = data[os.write(lines, data) :]

    try:
        yield tell
    finally:
        _flush_all()
        os.dup2(lines, 1)
        os.close(lines)


def _flush_all() -> None:
    """What Python and C have still to print, so that it goes where it was meant to."""
    sys.stdout.flush()
    library = "ucrtbase" if sys.platform == "win32" else None
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(library).fflush(None)


def _earlier_lines(path: Path) -> dict[int, str]:
    """Job -> line of an earlier run.

    Raises:
        ReportError: the file is there and is no report.
    """
    if not path.exists():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        parsed = [cast("dict[str, Any]", json.loads(line)) for line in lines if line.strip()]
        return {int(values["job"]): line for values, line in zip(parsed, lines, strict=True)}
    except OSError as error:
        raise ReportError(f"{path} can't be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError):
        raise ReportError(f"{path} is there and no report of a batch: give another one") from None
