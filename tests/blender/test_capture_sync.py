"""A captured movement is keyed at the frame of the timeline that shows it, however strips lie.

The movie's every frame has its number drawn on it, so what Blender shows is read from its picture.
The engine is played by its contract (tests/engine/server/test_movie_jobs.py holds it): frame k of
a result is the moment first_frame / movie_fps + offset + k / fps of the movie. The movement is one
elbow that bends by a radian in a second.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.engine_link.jobs import JobState
from blender_addon.scene import movie_strips, pump
from tests.blender.numbered_movie import shown_frame, strips_of, write_movie
from tests.blender.test_movie_strips import add, in_sequencer
from tests.blender.test_pump import FakeClient
from tests.blender.test_sequencer import client
from tests.blender_addon.rig.figures import INDEX, axis_quaternion, rest_motion

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

__all__ = ["client"]  # a fixture

MOVIE_FPS = 30


@dataclass(frozen=True)
class Lie:
    """How a strip lies on the timeline."""

    scene_fps: int = 30
    start: int = 9
    trim: tuple[int, int] = (0, 0)  # frames of the timeline off both ends
    split: int = 0  # frames of the timeline after which it is cut in two, for good
    at_own_rate: bool = False


LIES = {
    "as it is": Lie(),
    "trimmed": Lie(trim=(6, 7)),
    "cut": Lie(split=11),
    "cut and trimmed": Lie(start=-20, split=8, trim=(5, 9)),
    "cut at its own rate in 24": Lie(scene_fps=24, split=13, at_own_rate=True),
    "frame by frame in 24": Lie(scene_fps=24, trim=(6, 7)),
    "own rate in 24": Lie(scene_fps=24, trim=(6, 7), at_own_rate=True),
    "own rate in 25": Lie(scene_fps=25, trim=(7, 3), at_own_rate=True),
    "own rate in 60": Lie(scene_fps=60, trim=(21, 10), at_own_rate=True),
    "frame by frame in 60": Lie(scene_fps=60, trim=(3, 3)),
}


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movie(tmp_path_factory.mktemp("movie"), num_frames=60, fps=MOVIE_FPS)


def add_strip(movie: Path, lie: Lie) -> Any:
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = lie.scene_fps, 1.0
    scene.sequence_editor_create()
    strip = add(scene, movie, at_own_rate=lie.at_own_rate)
    strip.frame_start = lie.start
    if lie.split:  # hard: the frames before are gone for this half
        in_sequencer(scene, "split", frame=lie.start + lie.split, type="HARD")
        halves = strips_of(scene.sequence_editor)
        strip = max(halves, key=lambda half: half.frame_final_start)
        for half in halves:
            half.select = half == strip
    strip.frame_offset_start, strip.frame_offset_end = lie.trim
    strip.select = True
    return strip


def answer(request: protocol.VideoRequest) -> protocol.JobResult:
    """What the engine sends for a movie in which an elbow bends by a radian in a second."""
    start = request.first_frame / request.movie_fps + request.offset
    moments = start + np.arange(request.length) / request.fps
    motion = rest_motion(request.length)
    rotations = motion.local_rotations.copy()
    rotations[:, INDEX["left_elbow"]] = axis_quaternion(1, -moments)
    words = {"job_id": request.job_id, "fps": request.fps, "local_rotations": rotations}
    provenance = json.dumps({"seed": 0, "model": "fake"})
    return protocol.JobResult(**{**vars(motion), **words, "provenance": provenance})


@pytest.mark.parametrize("name", LIES)
def test_the_pose_is_that_of_the_frame_shown(
    client: FakeClient, mannequin: bpy.types.Object, movie: Path, tmp_path: Path, name: str
) -> None:
    lie, scene = LIES[name], bpy.context.scene
    strip = add_strip(movie, lie)
    shown = movie_strips.movie_range(movie_strips.FoundStrip(strip, scene))
    assert shown.step == pytest.approx(MOVIE_FPS / lie.scene_fps if lie.at_own_rate else 1.0)
    assert bpy.ops.motion.capture_strips() == {"FINISHED"}
    (job,) = session.jobs
    (request,) = client.sent
    client.inbox.append(answer(request))
    pump.poll()
    assert job.state is JobState.DONE
    assert tuple(mannequin.animation_data.action.frame_range) == (shown.start, shown.end)
    frames = range(shown.start, shown.end + 1, max(1, shown.num_shown // 9))
    off = []
    for frame in frames:
        number = shown_frame(scene, frame, tmp_path)
        assert number == shown.frame_at(frame)
        moment = mannequin.pose.bones["left_elbow"].rotation_quaternion.angle
        off.append(moment * MOVIE_FPS - number)
    # Blender shows the nearest frame, so half of one is all that the pose may be beside it.
    assert np.abs(off).max() <= 0.5 + 0.01, off


def test_each_frame_has_a_key_and_they_lie_on_frames(
    client: FakeClient, mannequin: bpy.types.Object, movie: Path
) -> None:
    add_strip(movie, Lie(scene_fps=24, trim=(6, 7)))
    bpy.ops.motion.capture_strips()
    (request,) = client.sent
    client.inbox.append(answer(request))
    pump.poll()
    from blender_addon.scene.action_writer import curves_of

    for curve in curves_of(mannequin.animation_data.action).fcurves:
        frames = [point.co.x for point in curve.keyframe_points]
        if len(frames) > 1:
            assert frames == list(range(15, 62))
