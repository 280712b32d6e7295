"""What the verbs share of the terminal: errors in one line, exit codes, progress, JSON.

Progress and log go to standard error. With --json standard output has one line, the object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

DONE, FAILED, WRONG_WORDS, INTERRUPTED = 0, 1, 2, 130
LINE_INTERVAL_S = 3.0
PIPE_WIDTH = 400


if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction["Parser"]  # pyright: ignore[reportPrivateUsage]


class CommandError(Exception):
    """The words or a file given are wrong. The message is one line for the user."""

    exit_code = WRONG_WORDS


class WorkError(CommandError):
    """The work failed though the words were right. The message is one line for the user."""

    exit_code = FAILED


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the line and leave with exit code 2."""
        self.exit(WRONG_WORDS, f"{self.prog}: {message} (see {self.prog} --help)\n")


def add_common_options(parser: argparse.ArgumentParser, *, device: bool) -> None:
    """--json, and for verbs that run models --device."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on standard output"
    )
    if device:
        add_device_option(parser)


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """--device."""
    parser.add_argument(
        "--device",
        choices=("auto", "cuda", "mps", "cpu"),
        default="auto",
        help="where the model runs (default: the fastest kind that is there)",
    )


def add_models_option(parser: argparse.ArgumentParser) -> None:
    """--models, which may come several times."""
    parser.add_argument(
        "--models",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="look for models here first, then in the user's data folder and in those shipped",
    )


def print_error(message: str) -> None:
    """One line on standard error, whatever the message has in it."""
    print(f"engine: {' '.join(message.split())}", file=sys.stderr)


def print_warning(message: str) -> None:
    """One line on standard error."""
    print(f"engine: warning: {' '.join(message.split())}", file=sys.stderr)


def table_console() -> Console:
    """Where tables go: as wide as the terminal, and wide enough for any line of a pipe."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def print_note(message: str) -> None:
    """One line on standard error that isn't an error."""
    print(message, file=sys.stderr)


def print_json(values: Mapping[str, object]) -> None:
    """The one line of --json."""
    print(json.dumps(values, allow_nan=False))


class ProgressLine:
    """Progress of long work: a bar on a terminal, else a line every few seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = self._bar.add_task(what, total=None) if self._bar is not None else None
        self._line_at = time.monotonic()
        self._first: tuple[float, int] | None = None  # when the first step was reported, and which

    def __enter__(self) -> ProgressLine:
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

    def report(self, step: int, num_steps: int) -> None:
        """step of num_steps are done."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, total=num_steps)
            return
        now = time.monotonic()
        # What came before the first step (loading) says nothing about the rate.
        first_time, first_step = self._first = self._first or (now, step)
        if now - self._line_at >= LINE_INTERVAL_S and step > first_step:
            self._line_at = now
            rate = (step - first_step) / max(now - first_time, 1e-9)
            print_note(
                f"{self._what}: step {step} of {num_steps}, {rate:.1f} steps/s, "
                f"about {(num_steps - step) / rate:.0f} s left"
            )


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


class _RateColumn(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} steps/s")
