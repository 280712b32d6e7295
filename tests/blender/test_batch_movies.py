"""Batch jobs with movies: what they ask the engine, and the camera that its answer makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_addon import protocol
from blender_addon.batch.jobs_file import parse_jobs
from blender_addon.batch.report import DONE, FAILED, Outcome
from blender_addon.batch.runner import Runner
from blender_addon.scene import match_camera
from tests.blender.numbered_movie import strips_of, write_movie
from tests.blender.test_match_camera import check_beside, seen_walk

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]


class FakeEngine:
    """Answers every movie with the same walk, at the rate that was asked for."""

    def __init__(self) -> None:
        self.asked: list[protocol.VideoRequest] = []

    def ready(self) -> None:
        """It is."""

    def model(self, name: str, kind: str) -> protocol.ModelEntry | None:
        return None

    def run(
        self, request: protocol.VideoRequest, report: Callable[[int, int], None]
    ) -> protocol.JobResult:
        self.asked.append(request)
        return replace(seen_walk(), fps=request.fps)


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movie(tmp_path_factory.mktemp("movie"), num_frames=60, fps=30)


def run(jobs: list[dict[str, Any]], folder: Path) -> tuple[FakeEngine, list[Outcome]]:
    engine, outcomes = FakeEngine(), []
    runner = Runner(engine, outcomes.append, lambda _text: None, save=folder / "done.blend")
    runner.run(parse_jobs(jobs))
    return engine, outcomes


def test_a_strip_asks_for_a_key_in_each_of_its_frames(
    mannequin: bpy.types.Object, movie: Path, tmp_path: Path
) -> None:
    scene = bpy.context.scene
    scene.render.fps = 24
    strip = strips_of(scene.sequence_editor_create()).new_movie("take", str(movie), 1, 9)
    strip.frame_offset_start, strip.frame_offset_end = 6, 7
    job = {"strip": "take", "armature": mannequin.name, "seed": 3}
    engine, (whole, short) = run([job, {**job, "seconds": 0.5}], tmp_path)
    assert (whole.state, whole.start_frame, short.state) == (DONE, 15, DONE)
    first, second = engine.asked
    assert (first.first_frame, first.num_frames, first.length) == (6, 47, 47)
    assert (first.movie_fps, first.fps, first.offset) == (30.0, 30.0, 0.0)
    assert (second.num_frames, second.length) == (15, 15)
    start, _ = bpy.data.actions[whole.action].frame_range
    assert start == 15
    assert len(bpy.data.cameras) == 0


def test_a_camera_is_made_where_it_is_asked_for(
    mannequin: bpy.types.Object, movie: Path, tmp_path: Path
) -> None:
    scene = bpy.context.scene
    scene.render.fps = 20
    strips_of(scene.sequence_editor_create()).new_movie("take", str(movie), 1, 11)
    jobs = [
        {"strip": "take", "armature": mannequin.name, "camera": True},
        {"video": str(movie), "armature": mannequin.name, "camera": True, "start_frame": 11},
        {"prompt": "a person walks", "armature": mannequin.name, "camera": True},
    ]
    _, (strip, video, prompt) = run(jobs, tmp_path)
    assert (strip.state, video.state, prompt.state) == (DONE, DONE, FAILED)
    assert "has no camera" in prompt.message
    of_strip, of_video = (
        match_camera.camera_of(bpy.data.actions[done.action]) for done in (strip, video)
    )
    assert of_strip is not None
    assert of_video is not None
    assert len(of_strip.data.background_images) == 1
    assert len(of_video.data.background_images) == 0  # no strip says where it would lie
    check_beside(mannequin, seen_walk())
