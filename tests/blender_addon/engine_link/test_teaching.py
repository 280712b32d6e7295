"""Lessons: what is written for them, how they run, stop, go on and fail. No Blender needed."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blender_addon.engine_link.client import EngineLinkError
from blender_addon.engine_link.process import EngineCommand
from blender_addon.engine_link.teaching import (
    Lesson,
    TaughtClip,
    Teaching,
    TeachingPhase,
    list_lessons,
    remove_lesson,
    write_lesson,
)

TIMEOUT_S = 60.0

# Writes down its words and what it is told to, then does what the model's name says.
TRAINER = """
import json, os, pathlib, sys, time
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--out") + 1])
name = words[words.index("--name") + 1]
(out / "words.json").write_text(json.dumps(words))
def tell(phase, share):
    (out / "status.json").write_text(json.dumps({"phase": phase, "text": phase, "share": share}))
before = (out / "began").exists()
(out / "began").write_text(str(os.getpid()))
if name == "breaks":
    sys.exit("there is nobody in any of the videos")
if name == "lacks":
    sys.exit("ModuleNotFoundError: No module named 'trainer.commands.teach'")
tell("training", 0.6)
if name == "long" and not before:
    time.sleep(600)
tell("done", 1.0)
"""


@pytest.fixture
def command(tmp_path: Path) -> EngineCommand:
    root = tmp_path / "engine"
    (root / "trainer").mkdir(parents=True)
    (root / "trainer" / "__init__.py").write_text("")
    (root / "trainer" / "__main__.py").write_text(TRAINER)
    return EngineCommand(python=Path(sys.executable), folder=tmp_path, engine_root=root)


@pytest.fixture
def teaching() -> Iterator[Teaching]:
    one = Teaching()
    yield one
    one.close()


def lesson(tmp_path: Path, name: str, **settings: object) -> Lesson:
    clips = [
        TaughtClip(
            path=tmp_path / f"movie {k}.mp4", start=k, end=k + 2.5, caption=f"does {k}, well"
        )
        for k in range(4)
    ]
    models = tmp_path / "models"
    return write_lesson(tmp_path / "teach", name, clips, models, num_steps=50, **settings)


def wait(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_lesson_runs_to_its_end(
    tmp_path: Path, command: EngineCommand, teaching: Teaching
) -> None:
    one = lesson(tmp_path, "good", people="all")
    assert [found.name for found in list_lessons(tmp_path / "teach")] == ["good"]
    teaching.start(command, one)
    wait(lambda: not teaching.poll())
    assert (teaching.phase, teaching.share) == (TeachingPhase.DONE, 1.0)
    assert list_lessons(tmp_path / "teach") == []
    words = json.loads((one.folder / "words.json").read_text())
    assert words[0] == "teach"
    assert words[1:5] == [str(tmp_path / f"movie {k}.mp4") for k in range(4)]
    told = dict(zip(words[5::2], words[6::2], strict=False))
    assert (told["--steps"], told["--people"], told["--models"]) == (
        "50",
        "all",
        str(tmp_path / "models"),
    )
    assert words[words.index("--parent-pid") + 1] == str(os.getpid())
    with (one.folder / "captions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[3] == {
        "video": (tmp_path / "movie 3.mp4").as_posix(),
        "caption": "does 3, well",
        "start": "3.0000",
        "end": "5.5000",
    }


def test_it_is_stopped_at_once_and_goes_on_after_a_restart(
    tmp_path: Path, command: EngineCommand, teaching: Teaching
) -> None:
    teaching.start(command, lesson(tmp_path, "long"))
    wait(lambda: teaching.poll() and teaching.share == 0.6)
    with pytest.raises(EngineLinkError, match="under way"):
        teaching.start(command, lesson(tmp_path, "other"))
    pid = int((tmp_path / "teach" / "long" / "began").read_text())
    began = time.monotonic()
    teaching.cancel()
    assert time.monotonic() - began < 1.0
    assert teaching.phase is TeachingPhase.STOPPED
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    again = Teaching()  # as another Blender has it
    found = {one.name: one for one in list_lessons(tmp_path / "teach")}
    again.start(command, found["long"])
    wait(lambda: not again.poll())
    assert again.phase is TeachingPhase.DONE


@pytest.mark.parametrize(
    ("name", "message"),
    [("breaks", "there is nobody in any of the videos"), ("lacks", "set the engine up again")],
)
def test_why_it_failed_is_told(
    tmp_path: Path, command: EngineCommand, teaching: Teaching, name: str, message: str
) -> None:
    teaching.start(command, lesson(tmp_path, name))
    wait(lambda: not teaching.poll())
    assert teaching.phase is TeachingPhase.FAILED
    assert message in teaching.error
    assert [one.name for one in list_lessons(tmp_path / "teach")] == [name]


def test_an_interpreter_that_is_not_there_gives_a_line(tmp_path: Path, teaching: Teaching) -> None:
    nowhere = EngineCommand(python=tmp_path / "python", folder=tmp_path)
    with pytest.raises(EngineLinkError, match="could not be started"):
        teaching.start(nowhere, lesson(tmp_path, "good"))
    assert teaching.phase is TeachingPhase.IDLE


@pytest.mark.parametrize("name", ["", "a/b", "../up", "."])
def test_names_that_no_file_has_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineLinkError, match="name"):
        lesson(tmp_path, name)


def test_nothing_is_replaced_unasked_and_few_strips_are_refused(tmp_path: Path) -> None:
    one = lesson(tmp_path, "good")
    with pytest.raises(EngineLinkError, match="A lesson is named good"):
        lesson(tmp_path, "good")
    assert lesson(tmp_path, "good", replace=True) == one
    remove_lesson(one)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "good.safetensors").write_text("")
    with pytest.raises(EngineLinkError, match="A model is named good"):
        lesson(tmp_path, "good")
    with pytest.raises(EngineLinkError, match="too few"):
        write_lesson(tmp_path, "few", [], tmp_path, num_steps=10)


def test_half_written_files_are_no_lessons(tmp_path: Path) -> None:
    for name, text in (("a", "{"), ("b", "[]"), ("c", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lesson.json").write_text(text)
    assert list_lessons(tmp_path) == []
    assert list_lessons(tmp_path / "none") == []
