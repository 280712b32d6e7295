"""The sequencer's tab: what it shows of strips, what it asks the engine, what that answers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.engine_link.jobs import JobState
from blender_addon.engine_link.process import read_connection
from blender_addon.engine_link.session import EngineState
from blender_addon.scene import movie_strips, pump, takes
from blender_addon.ui import sequencer
from tests.blender.numbered_movie import add_pictures, strips_of, write_movie
from tests.blender.test_panels import FakeLayout
from tests.blender.test_pump import FakeClient
from tests.blender_addon.rig.figures import walk_motion

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 180.0
KNOWS = {"takes_video": True, "finds_people": True}  # of an engine of this release


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movie(tmp_path_factory.mktemp("movie"), num_frames=60, fps=30)


@pytest.fixture
def strip(addon: None, movie: Path) -> Any:
    """Frames 6 to 52 of the movie, from frame 15 on, selected."""
    scene = bpy.context.scene
    scene.render.fps = 24
    strip = strips_of(scene.sequence_editor_create()).new_movie("take", str(movie), 1, 9)
    strip.frame_offset_start, strip.frame_offset_end = 6, 7
    strip.select = True
    return strip


@pytest.fixture
def client(addon: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClient]:
    fake = FakeClient()
    welcome = protocol.Welcome(engine_version="0", device="fake", models=[], **KNOWS)
    monkeypatch.setattr(fake, "welcome", welcome)
    session.reset()
    monkeypatch.setattr(session, "client", fake)
    monkeypatch.setattr(session, "state", EngineState.READY)
    yield fake
    session.reset()


def draw() -> list[str]:
    told: list[str] = []
    context = SimpleNamespace(
        scene=bpy.context.scene,
        view_layer=bpy.context.view_layer,
        workspace=bpy.context.workspace,
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0)),
        region=SimpleNamespace(width=280),
    )
    for panel in (sequencer.MOTION_PT_sequencer_engine, sequencer.MOTION_PT_sequencer_capture):
        panel.draw(SimpleNamespace(layout=FakeLayout(told)), context)
    return told


def test_the_ranges_are_shown(strip: Any) -> None:
    movie_strips.movie_range(movie_strips.FoundStrip(strip, bpy.context.scene))
    told = draw()
    assert "take" in told
    assert "Movie frames 6 to 52 (47)" in told
    assert "Timeline 15 to 61, 1.96 s" in told
    assert "Movie 30 fps, scene 24 fps" in told
    assert "80% of its own speed" in " ".join(told)


def test_drawing_opens_no_movie(strip: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movie_strips, "_frame_counts", {})
    with monkeypatch.context() as forbidden:
        forbidden.setattr(movie_strips, "_measure", pytest.fail)
        assert "The movie is being read" in draw()
    assert bpy.app.timers.is_registered(sequencer._measure_asked)
    sequencer._measure_asked()  # background Blender fires no timer
    assert "Movie frames 6 to 52 (47)" in draw()
    bpy.app.timers.unregister(sequencer._measure_asked)


def test_nothing_selected_and_what_is_no_movie(strip: Any, movie: Path) -> None:
    strip.select = False
    assert "Select movie strips" in draw()
    assert not bpy.ops.motion.match_strip_range.poll()
    add_pictures(bpy.context.scene, movie.parent / "pictures").select = True
    assert "is an image sequence" in " ".join(draw())
    with pytest.raises(RuntimeError, match="image sequence"):
        bpy.ops.motion.match_strip_range()


def test_the_scenes_range_follows_only_when_asked(strip: Any) -> None:
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 100, 250
    draw()
    assert (scene.frame_start, scene.frame_end) == (100, 250)
    assert bpy.ops.motion.match_strip_range() == {"FINISHED"}
    assert (scene.frame_start, scene.frame_end, scene.render.fps) == (15, 61, 24)
    later = strips_of(scene.sequence_editor).new_movie("later", strip.filepath, 2, 200)
    later.select = True
    bpy.ops.motion.match_strip_range()
    assert (scene.frame_start, scene.frame_end) == (15, 259)


def test_a_strip_becomes_a_request(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object, movie: Path
) -> None:
    settings = bpy.context.scene.motion_capture
    settings.follow, settings.person = "NUMBER", 2
    draw()
    bpy.context.scene.motion.seed = 5
    assert bpy.ops.motion.capture_strips() == {"FINISHED"}
    (job,) = session.jobs
    assert client.sent == [
        protocol.VideoRequest(
            job_id=job.job_id,
            path=str(movie),
            first_frame=6,
            num_frames=47,
            movie_fps=30.0,
            fps=30.0,  # each frame of the timeline gets a key, and plays 0.8 s of the movie in one
            length=47,
            person=2,
            seed=5,
        )
    ]
    assert (job.armature_name, job.start_frame, job.prompt) == (mannequin.name, 15, "take")
    assert job.speed == pytest.approx(0.8)  # each frame of the movie has a frame of the scene


def test_a_motion_from_a_movie_lasts_as_long_as_its_strip(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object
) -> None:
    bpy.ops.motion.capture_strips()
    (job,) = session.jobs
    motion = walk_motion(47, fps=30.0)
    client.inbox.append(protocol.JobResult(**{**vars(motion), "job_id": job.job_id}))
    pump.poll()
    assert job.state is JobState.DONE
    assert tuple(mannequin.animation_data.action.frame_range) == (15, 61)
    (curve, *_) = takes.curves_of(mannequin.animation_data.action).fcurves
    assert [point.co.x for point in curve.keyframe_points] == list(range(15, 62))


def test_the_target_is_the_chosen_armature(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object
) -> None:
    bpy.context.view_layer.objects.active = None
    assert not bpy.ops.motion.capture_strips.poll()
    bpy.context.scene.motion_capture.armature = mannequin
    assert bpy.ops.motion.capture_strips() == {"FINISHED"}
    assert next(iter(session.jobs)).armature_name == mannequin.name
    (request,) = client.sent
    assert isinstance(request, protocol.VideoRequest)
    assert request.person == -1  # the largest, unless somebody else is chosen


def test_an_older_engine_is_told_apart(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    welcome = protocol.Welcome(engine_version="0", device="fake", models=[])
    monkeypatch.setattr(client, "welcome", welcome)
    with pytest.raises(RuntimeError, match="too old for video"):
        bpy.ops.motion.capture_strips()
    assert client.sent == []


@pytest.mark.end_to_end
def test_an_engine_without_such_a_model_says_so_in_the_panel(
    strip: Any, mannequin: bpy.types.Object, engine_python: Path, tmp_path: Path
) -> None:
    file = tmp_path / "engine.json"
    words = [str(engine_python), "-m", "tests.fake_engine", "serve", "--connection-file", str(file)]
    with subprocess.Popen(words, cwd=REPOSITORY) as engine:
        try:
            poll_until(file.exists)
            connection = read_connection(file)
            assert connection is not None
            session.connect(connection)
            poll_until(lambda: session.state is EngineState.READY)
            assert "No model here accepts video" in draw()
            assert bpy.ops.motion.capture_strips() == {"FINISHED"}
            (job,) = session.jobs
            poll_until(lambda: job.state.is_end)
        finally:
            session.reset()
            engine.kill()
    assert job.state is JobState.FAILED
    assert job.message.startswith("No model here accepts video")
    assert mannequin.animation_data is None


def poll_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline, (session.state, session.message)
        pump.poll()
        time.sleep(0.02)
