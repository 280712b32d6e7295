"""What a run tells: stats.jsonl, TensorBoard files, a progress bar or lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0


class RunReport:
    """Writes figures of a run as they come. Use as a context manager."""

    def __init__(
        self, folder: Path, num_steps: int, first_step: int, steps_before: int = 0
    ) -> None:
        """Steps are those of a stage that has had steps_before in the stages before it."""
        # TensorBoard's import takes a second, and only training needs it
        from torch.utils.tensorboard import SummaryWriter

        self._stats = (folder / "stats.jsonl").open("a")
        self._tensorboard = SummaryWriter(
            str(folder / "tensorboard"), purge_step=steps_before + first_step
        )
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
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("training", total=num_steps, completed=first_step)

    def __enter__(self) -> RunReport:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._stats.close()
        self._tensorboard.close()

    def step(self, step: int, seconds_per_step: float, loss: float) -> None:
        """Progress only; a line every few seconds where there is no terminal."""
        self._progress.update(self._task, completed=step, description=f"loss {loss:.4f}")
        now = time.monotonic()
        if self._progress.disable and now - self._last_line > LINE_EVERY_S:
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
        for name, value in values.items():
            self._tensorboard.add_scalar(name, float(value), step)
