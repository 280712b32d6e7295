"""Teach a Move in Blender: captions on strips, the panel, and lessons from it."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from blender_addon.engine_link import session
from blender_addon.engine_link.process import EngineCommand
from blender_addon.engine_link.teaching import TeachingPhase
from blender_addon.ui import preferences, teach
from tests.blender.numbered_movie import strips_of, write_movie
from tests.blender.test_panels import FakeLayout
from tests.blender_addon.engine_link.test_teaching import TRAINER

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movie(tmp_path_factory.mktemp("movie"), num_frames=60, fps=30)


@pytest.fixture(autouse=True)
def places(addon: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Not the user's folders, and a trainer that does what its model's name says."""
    root = tmp_path / "engine"
    (root / "trainer").mkdir(parents=True)
    (root / "trainer" / "__init__.py").write_text("")
    (root / "trainer" / "__main__.py").write_text(TRAINER)
    command = EngineCommand(python=Path(sys.executable), folder=tmp_path, engine_root=root)
    monkeypatch.setattr(preferences, "engine_command", lambda context: command)
    monkeypatch.setattr(teach, "lessons_folder", lambda: tmp_path / "teach")
    monkeypatch.setattr(teach, "user_models_folder", lambda: tmp_path / "models")
    yield tmp_path
    session.teaching.close()


@pytest.fixture
def strips(movie: Path) -> list[Any]:
    """Three selected strips of a movie of 30 fps in a scene of 24, the first cut at both ends."""
    scene = bpy.context.scene
    scene.render.fps = 24
    made = [
        strips_of(scene.sequence_editor_create()).new_movie(f"take {k}", str(movie), k + 1, 9)
        for k in range(3)
    ]
    made[0].frame_offset_start, made[0].frame_offset_end = 6, 7
    for strip in made:
        strip.select = True
    return made


def draw() -> list[str]:
    told: list[str] = []
    context = SimpleNamespace(
        scene=bpy.context.scene,
        workspace=bpy.context.workspace,
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0)),
        region=SimpleNamespace(width=280),
    )
    teach.MOTION_PT_teach.draw(SimpleNamespace(layout=FakeLayout(told)), context)
    return told


def test_captions_are_kept_with_their_strips_in_the_file(strips: list[Any], tmp_path: Path) -> None:
    strips[1].motion_caption = "a person does a cartwheel"
    file = str(tmp_path / "kept.blend")
    bpy.ops.wm.save_as_mainfile(filepath=file)
    bpy.ops.wm.open_mainfile(filepath=file)
    found = {s.name: s.motion_caption for s in strips_of(bpy.context.scene.sequence_editor)}
    assert found == {"take 0": "", "take 1": "a person does a cartwheel", "take 2": ""}


def test_the_panel_says_what_to_do(strips: list[Any]) -> None:
    told = draw()
    assert "take 0" in told
    assert "Teach" in told
    assert not bpy.ops.motion.teach_strips.poll()
    for strip in strips:
        strip.select = False
    assert "Select movie strips" in draw()


def test_captioned_strips_become_a_lesson_that_runs(strips: list[Any], places: Path) -> None:
    for number, strip in enumerate(strips):
        strip.motion_caption = f" a person does {number} "
    assert bpy.ops.motion.teach_strips.poll()
    bpy.context.scene.motion_teach.name = "good"
    assert bpy.ops.motion.teach_strips() == {"FINISHED"}
    assert session.teaching.phase is TeachingPhase.DONE
    with (places / "teach" / "good" / "captions.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["caption"])
    assert [row["caption"] for row in rows] == [f"a person does {number}" for number in range(3)]
    # frames 6 to 52 of the movie, at 30 a second
    first = (float(rows[0]["start"]), float(rows[0]["end"]))
    assert first == pytest.approx((6 / 30, 53 / 30), abs=1e-3)
    assert "good is in the list of" in " ".join(draw())


def test_a_failure_is_told_and_the_lesson_can_be_gone_on_with(
    strips: list[Any], places: Path
) -> None:
    for strip in strips:
        strip.motion_caption = "a person hops"
    bpy.context.scene.motion_teach.name = "breaks"
    assert bpy.ops.motion.teach_strips() == {"FINISHED"}
    told = " ".join(draw())
    assert "nobody in any" in told
    assert "breaks isn't finished" in told
    assert "Resume" in told
    assert bpy.ops.motion.resume_lesson(name="breaks") == {"FINISHED"}
    assert session.teaching.phase is TeachingPhase.FAILED
    assert bpy.ops.motion.remove_lesson(name="breaks") == {"FINISHED"}
    assert not (places / "teach" / "breaks").exists()
    with pytest.raises(RuntimeError, match="no lesson breaks"):
        bpy.ops.motion.resume_lesson(name="breaks")


def test_what_is_wrong_is_said_before_anything_starts(strips: list[Any]) -> None:
    for strip in strips:
        strip.motion_caption = "a person hops"
    bpy.context.scene.motion_teach.name = ""
    with pytest.raises(RuntimeError, match="Give the model a name"):
        bpy.ops.motion.teach_strips()
    assert session.teaching.phase is TeachingPhase.IDLE


def test_while_it_runs_the_panel_shows_how_far_it_is_and_cancels(
    strips: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for strip in strips:
        strip.motion_caption = "a person hops"
    polls: list[int] = []

    def poll() -> float | None:
        session.teaching.poll()
        polls.append(1)
        if session.teaching.share < 0.6:
            return 0.05
        told = draw()
        assert "60%" in " ".join(told)
        assert "training" in told
        assert not bpy.ops.motion.teach_strips.poll()
        assert bpy.ops.motion.cancel_lesson() == {"FINISHED"}
        return None

    monkeypatch.setattr(teach, "_poll", poll)
    bpy.context.scene.motion_teach.name = "long"
    bpy.ops.motion.teach_strips()
    assert polls
    assert session.teaching.phase is TeachingPhase.STOPPED
    assert "long isn't finished" in draw()
