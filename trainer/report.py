"""What a run tells: stats.jsonl, TensorBoard files, a progress bar or lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0


class RunReport:
    """Writes figures of a run as they come. Use as a context manager."""

    def __init__(
        self,
        folder: Path,
        num_steps: int,
        first_step: int,
        steps_before: int = 0,
        *,
        is_silent: bool = False,
    ) -> None:
        """Steps are those of a stage that has had steps_before in the stages before it.

        What a killed run told of steps after its last save is taken back: they come again. One
        that is silent, of a process that isn't the first, tells nothing.
        """
        last_step = steps_before + first_step
        self._outputs = ExitStack()
        if is_silent:
            folder = Path(self._outputs.enter_context(TemporaryDirectory(prefix="marey-")))
        elif last_step:
            _take_back(folder / "stats.jsonl", last_step)
        self._stats = self._outputs.enter_context((folder / "stats.jsonl").open("a"))
        self._tensorboard = self._curves(folder / "tensorboard", last_step)
        self._is_silent = is_silent
        self._console = Console(stderr=True)
        self._num_steps = num_steps
        self._last_line = 0.0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=is_silent or not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("training", total=num_steps, completed=first_step)

    def __enter__(self) -> RunReport:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._outputs.close()

    def step(self, step: int, seconds_per_step: float, loss: float) -> None:
        """Progress only; a line every few seconds where there is no terminal."""
        self._progress.update(self._task, completed=step, description=f"loss {loss:.4f}")
        now = time.monotonic()
        if self._progress.disable and not self._is_silent and now - self._last_line > LINE_EVERY_S:
            self._last_line = now
            left = (self._num_steps - step) * seconds_per_step / 60
            self._console.print(
                f"step {step}/{self._num_steps} loss {loss:.4f} "
                f"{seconds_per_step:.2f} s a step, {left:.0f} min left",
                highlight=False,
            )

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """A row of stats.jsonl and a point on every curve."""
        row = {"step": step, **{name: round(float(v), 6) for name, v in values.items()}}
        self._stats.write(json.dumps(row) + "\n")
        self._stats.flush()
        curves = self._tensorboard
        if curves is not None:
            for name, value in values.items():
                curves.add_scalar(name, float(value), step)

    def _curves(self, folder: Path, last_step: int) -> Any:
        """TensorBoard's writer; None where it isn't installed, as in the engine's environment."""
        try:
            # the import takes a second, and only training needs it
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        return self._outputs.enter_context(SummaryWriter(str(folder), purge_step=last_step))


def _take_back(path: Path, last_step: int) -> None:
    """Leave out rows of later steps, and one that was cut off."""
    if not path.is_file():
        return
    kept: list[str] = []
    for line in path.read_text().splitlines():
        try:
            is_kept = json.loads(line)["step"] <= last_step
        except (ValueError, KeyError, TypeError):
            is_kept = False
        if is_kept:
            kept.append(line + "\n")
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(kept))
    partial.replace(path)
