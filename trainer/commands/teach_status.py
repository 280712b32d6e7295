"""How far a teaching is, as a small file that another program looks at: OUT/status.json.

    phase   reading, lifting, training, done or failed
    text    what it does now, in words
    share   of all of it that is done, 0 to 1
    model   the file of the model, when it is done

What is done is seen from the files that the steps leave, so the steps know nothing of this.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from trainer.data.replay import FILE as REPLAY
from trainer.data.teacher_corpus import PARTS

FILE = "status.json"
INTERVAL_S = 0.5
_BEGINS = {"reading": 0.0, "lifting": 0.3, "training": 0.4}  # shares, of an ordinary teaching
_ENDS = {"reading": 0.3, "lifting": 0.4, "training": 1.0}
_PRACTISING = 0.1  # of training: what is known is sampled first


class TeachStatus:
    """Writes the file while its `with` lasts."""

    def __init__(self, folder: Path, *, parent_pid: int | None = None) -> None:
        """In a teaching's folder; with parent_pid, the process ends when its parent is gone."""
        self._folder = folder
        self._parent_pid = parent_pid if hasattr(os, "fork") else None  # Windows can't tell
        self._phase, self._began = "reading", time.monotonic()
        self._first_step: tuple[int, float] | None = None
        self._model: Path | None = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> TeachStatus:
        self._write("reading", "Reading videos", 0.0)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        if self._model is not None:
            self._write("done", "The model is in your list", 1.0)
        else:
            self._write("failed", "", 0.0)

    def begin(self, phase: str) -> None:
        """A phase begins."""
        self._phase, self._began, self._first_step = phase, time.monotonic(), None

    def done(self, model: Path) -> None:
        """The model is there."""
        self._model = model

    def _watch(self) -> None:
        while not self._is_over.wait(INTERVAL_S):
            if self._parent_pid is not None and os.getppid() != self._parent_pid:
                os._exit(1)  # at once, as if it had been killed: it can be resumed
            phase = self._phase
            try:
                text, share = getattr(self, f"_{phase}")()
            except (OSError, ValueError, KeyError):  # a file is just being written
                continue
            low, high = _BEGINS[phase], _ENDS[phase]
            self._write(phase, text, low + (high - low) * min(1.0, share))

    def _reading(self) -> tuple[str, float]:
        done = len(list((self._folder / "views" / PARTS).glob("*.json")))
        return (f"Reading videos: {done} done" if done else "Reading videos"), done / (done + 5)

    def _lifting(self) -> tuple[str, float]:
        names = (self._folder / "views" / "train.txt").read_text().split()
        done = len(list((self._folder / "lifted" / PARTS).glob("*.npz")))
        return f"Lifting clip {done + 1}", done / max(1, len(names))

    def _training(self) -> tuple[str, float]:
        run = self._folder / "run"
        if not (run / REPLAY).is_file():
            return "Practising what the model knows", 0.0
        if not (run / "config.json").is_file() or not (run / "stats.jsonl").is_file():
            return "Beginning to learn", _PRACTISING
        total = int(json.loads((run / "config.json").read_text())["loop"]["num_steps"])
        lines = (run / "stats.jsonl").read_text().splitlines()
        step = int(json.loads(lines[-1])["step"]) if lines else 0
        now = time.monotonic()
        first, since = self._first_step = self._first_step or (step, now)
        text = f"Learning: step {step} of {total}"
        if step > first:
            seconds = (now - since) / (step - first) * (total - step)
            text += f", about {_in_words(seconds)} left"
        return text, _PRACTISING + (1 - _PRACTISING) * step / max(1, total)

    def _write(self, phase: str, text: str, share: float) -> None:
        values: dict[str, Any] = {"phase": phase, "text": text, "share": round(share, 4)}
        if phase == "done":
            values["model"] = str(self._model)
        path = self._folder / FILE
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(values) + "\n")
        partial.replace(path)


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
