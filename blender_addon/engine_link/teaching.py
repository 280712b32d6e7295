"""A model taught from movies, as one process of the engine's own Python in the background.

A lesson is a folder in the user's data folder, TEACH/NAME, with all that it takes to go on:

    lesson.json     the words of the command, and what the model is to be called
    captions.csv    which seconds of which movies, and what is done in them
    status.json     how far it is: the trainer writes it (trainer.commands.teach_status)
    log.txt         what the trainer has said
    views/ lifted/ run/     what it has made so far

A lesson that was stopped, by the artist or with Blender, is resumed by running the same command
again. poll() never waits.
"""

from __future__ import annotations

import contextlib
import csv
import enum
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from .client import EngineLinkError
from .process import EngineCommand, clean_environment, end_tree, hidden_window

LESSON, STATUS, CAPTIONS, LOG = "lesson.json", "status.json", "captions.csv", "log.txt"
LEAST_STRIPS = 3
_LOG_TAIL_BYTES = 4096
_BELOW_NORMAL = 0x4000  # Windows: BELOW_NORMAL_PRIORITY_CLASS
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}")


class TeachingPhase(enum.Enum):
    """How far a lesson is."""

    IDLE = "idle"
    RUNNING = "running"
    STOPPED = "stopped"  # can be resumed
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class TaughtClip:
    """A stretch of a movie, and what is done in it."""

    path: Path
    start: float  # seconds
    end: float
    caption: str


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What was asked for."""

    name: str  # of the model
    folder: Path
    words: tuple[str, ...]  # of `python -m trainer teach`
    num_clips: int


class Teaching:
    """One lesson at a time; every method returns at once."""

    def __init__(self) -> None:
        self.phase = TeachingPhase.IDLE
        self.lesson: Lesson | None = None
        self.text = ""  # what it does now
        self.share = 0.0  # done, 0 to 1
        self.error = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    @property
    def is_running(self) -> bool:
        """poll() has work to do."""
        return self.phase is TeachingPhase.RUNNING

    @property
    def seconds(self) -> float:
        """Since it was started or resumed."""
        return time.monotonic() - self._began

    def start(self, command: EngineCommand, lesson: Lesson) -> None:
        """Begin a lesson, or go on with one.

        Raises:
            EngineLinkError: one is under way, or the engine's Python can't be started.
        """
        if self.is_running:
            raise EngineLinkError("Another lesson is under way: wait for it, or cancel it")
        self.close()
        try:
            (lesson.folder / STATUS).unlink(missing_ok=True)
            with (lesson.folder / LOG).open("ab") as output:
                self._process = _popen(command, lesson, output)
        except OSError as error:
            raise EngineLinkError(f"{command.python} could not be started: {error}") from error
        self.phase, self.lesson = TeachingPhase.RUNNING, lesson
        self.text, self.share, self.error = "Starting", 0.0, ""
        self._began = time.monotonic()

    def poll(self) -> bool:
        """Look how far it is. True while there is more to come."""
        if not self.is_running:
            return False
        assert self._process is not None
        assert self.lesson is not None
        code = self._process.poll()  # asked first: then its last word is there
        status = read_status(self.lesson.folder)
        self.text = str(status.get("text") or self.text)
        self.share = max(self.share, min(1.0, _number(status.get("share"))))
        if code is None:
            return True
        self._process = None
        if code == 0:
            self.phase, self.share = TeachingPhase.DONE, 1.0
        else:
            self.phase, self.error = TeachingPhase.FAILED, _reason(self.lesson.folder, code)
        return False

    def cancel(self) -> None:
        """Stop at once. What is done stays, and is gone on from."""
        if self.is_running:
            self.close()
            self.phase, self.text = TeachingPhase.STOPPED, ""

    def close(self) -> None:
        """End the process, if there is one; the lesson's folder stays."""
        if self._process is not None:
            end_tree(self._process)
            self._process = None
        self.phase, self.lesson = TeachingPhase.IDLE, None
        self.text, self.share, self.error = "", 0.0, ""


def write_lesson(
    root: Path,
    name: str,
    clips: Sequence[TaughtClip],
    models_folder: Path,
    *,
    num_steps: int,
    people: str = "largest",
    replace: bool = False,
) -> Lesson:
    """A lesson in a folder of its own, under root.

    Raises:
        EngineLinkError: the name or a caption is missing, there are too few clips, or a model or a
            lesson has that name.
        OSError: the folder can't be written.
    """
    if not _NAME.fullmatch(name):
        raise EngineLinkError("Give the model a name, of letters, digits, blanks and - _ .")
    if len(clips) < LEAST_STRIPS:
        raise EngineLinkError(
            f"{len(clips)} strips with a caption are too few to learn from: a dozen is good, "
            f"{LEAST_STRIPS} are needed"
        )
    target = models_folder / f"{name}.safetensors"
    if target.exists() and not replace:
        raise EngineLinkError(f"A model is named {name} already: choose another, or tick Replace")
    folder = root / name
    if (folder / LESSON).exists() and not replace:
        raise EngineLinkError(f"A lesson is named {name} already: resume it, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / CAPTIONS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("video", "caption", "start", "end"))
        for clip in clips:
            path = clip.path.resolve().as_posix()
            writer.writerow((path, clip.caption, f"{clip.start:.4f}", f"{clip.end:.4f}"))
    videos = dict.fromkeys(str(clip.path.resolve()) for clip in clips)
    words = ["teach", *videos, "--captions", str(folder / CAPTIONS), "--name", name]
    words += ["--out", str(folder), "--models", str(models_folder), "--steps", str(num_steps)]
    words += ["--people", people, "--overwrite"]
    told = {"name": name, "words": words, "num_clips": len(clips)}
    (folder / LESSON).write_text(json.dumps(told, indent=1), encoding="utf-8")
    return Lesson(name=name, folder=folder, words=tuple(words), num_clips=len(clips))


def list_lessons(root: Path) -> list[Lesson]:
    """Lessons that aren't finished, by name."""
    found: list[Lesson] = []
    for file in sorted(root.glob(f"*/{LESSON}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            told = cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))
            if read_status(file.parent).get("phase") == "done":
                continue
            found.append(
                Lesson(
                    name=str(told["name"]),
                    folder=file.parent,
                    words=tuple(str(word) for word in told["words"]),
                    num_clips=int(told["num_clips"]),
                )
            )
    return found


def remove_lesson(lesson: Lesson) -> None:
    """Remove a lesson's folder; a model that came of it stays."""
    shutil.rmtree(lesson.folder, ignore_errors=True)


def read_status(folder: Path) -> dict[str, Any]:
    """What the trainer has last said; {} where there is nothing that can be read."""
    try:
        values: object = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", values) if isinstance(values, dict) else {}


def _popen(command: EngineCommand, lesson: Lesson, output: Any) -> subprocess.Popen[bytes]:
    environment = clean_environment()
    if command.engine_root is not None:
        environment["PYTHONPATH"] = str(command.engine_root)
    safe = ["-P"] if command.engine_root is None else []  # as EngineCommand
    words = [str(command.python), *safe, "-u", "-m", "trainer", *lesson.words]
    words += ["--parent-pid", str(os.getpid())]
    flags = hidden_window()
    if sys.platform == "win32":
        flags |= _BELOW_NORMAL
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=command.engine_root or lesson.folder,
        env=environment,
        creationflags=flags,
        start_new_session=sys.platform != "win32",  # so that all it starts ends with it
    )


def _reason(folder: Path, code: int) -> str:
    """Why it has ended, from the end of its log."""
    try:
        with (folder / LOG).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    if "No module named" in last:
        return (
            f"The engine's Python has no trainer, or not all it needs ({last}): set the engine up "
            "again, in the preferences"
        )
    if code < 0:
        return f"It was ended by signal {-code}: resume it"
    return last


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
