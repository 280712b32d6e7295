"""The add-on in bpy with an engine that is a real process; its models are fakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

import blender_addon
from blender_addon.engine_link import session
from blender_addon.engine_link.jobs import JobState
from blender_addon.engine_link.process import EngineCommand
from blender_addon.engine_link.session import EngineState
from blender_addon.scene import action_writer, pump, takes
from blender_addon.scene.action_writer import PROVENANCE_KEY
from blender_addon.scripting import GenerateError, generate, start_engine
from blender_addon.ui import operators, preferences

pytestmark = [pytest.mark.blender, pytest.mark.end_to_end]

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 180.0  # an engine starts slowly on a busy machine


@pytest.fixture
def armature() -> Iterator[bpy.types.Object]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_addon.register()
    bpy.ops.motion.add_mannequin()
    yield bpy.context.object
    session.reset(wait_s=TIMEOUT_S)  # or the engine, on a busy machine, outlives the test
    blender_addon.unregister()


@pytest.fixture
def engine(armature: bpy.types.Object, engine_python: Path, tmp_path: Path) -> EngineCommand:
    command = EngineCommand(
        python=engine_python,
        folder=tmp_path,
        engine_root=REPOSITORY,
        device="cpu",
        module="tests.fake_engine",
    )
    start_engine(command)
    return command


def hand_of(armature: bpy.types.Object, frame: int) -> tuple[float, float, float]:
    bpy.context.scene.frame_set(frame)
    return tuple(armature.matrix_world @ armature.pose.bones["left_wrist"].head)


def test_from_prompt_to_keyed_armature(armature: bpy.types.Object, engine: EngineCommand) -> None:
    bpy.context.scene.render.fps = 24
    action = generate(armature, "a person walks", seconds=2, seed=5, start_frame=11)
    assert armature.animation_data.action == action
    assert tuple(action.frame_range) == (11, 58)
    assert hand_of(armature, 11) != hand_of(armature, 40)
    assert json.loads(action[PROVENANCE_KEY])["prompt"] == "a person walks"
    again = generate(armature, "a person walks", seconds=2, seed=5, start_frame=11)
    first = hand_of(armature, 40)
    armature.animation_data.action = action
    if hasattr(action, "slots"):
        armature.animation_data.action_slot = action.slots[0]
    assert again != action
    assert hand_of(armature, 40) == first  # the same seed gives the same motion


def test_a_request_that_cannot_be_served_says_why(
    armature: bpy.types.Object, engine: EngineCommand
) -> None:
    with pytest.raises(GenerateError, match="missing"):
        generate(armature, "a person walks", model="missing")
    with pytest.raises(GenerateError):
        generate(armature, "a person walks", model="broken")
    assert generate(armature, "a person walks", seconds=1)  # the engine is still there


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_an_engine_that_is_killed_in_the_middle_of_a_job(
    armature: bpy.types.Object, engine: EngineCommand
) -> None:
    bpy.context.scene.motion.model = "slow"
    job = operators.submit(bpy.context, armature)
    poll_until(lambda: job.step > 0)
    assert session.process is not None
    os.kill(session.process.pid, signal.SIGKILL)
    killed = time.monotonic()
    poll_until(lambda: job.state.is_end)
    assert time.monotonic() - killed < 12
    assert job.state is JobState.FAILED
    assert session.state is EngineState.LOST
    assert bpy.ops.motion.engine_start.poll()
    start_engine(engine)
    assert generate(armature, "a person walks", seconds=1)


def test_cancel_in_the_middle(armature: bpy.types.Object, engine: EngineCommand) -> None:
    bpy.context.scene.motion.model = "slow"
    job = operators.submit(bpy.context, armature)
    poll_until(lambda: job.step > 0)
    assert bpy.ops.motion.cancel(job_id=job.job_id) == {"FINISHED"}
    poll_until(lambda: job.state.is_end)
    assert job.state is JobState.CANCELLED
    assert armature.animation_data is None


def test_candidates_of_one_job(armature: bpy.types.Object, engine: EngineCommand) -> None:
    settings = bpy.context.scene.motion
    settings.seconds, settings.count, settings.seed = 1.0, 4, 20
    assert bpy.ops.motion.generate() == {"FINISHED"}
    assert pump.wait(TIMEOUT_S)
    (job,) = session.jobs
    assert (job.state, job.num_written) == (JobState.DONE, 4), job.message
    take = takes.take_of(armature)
    assert take is not None
    assert [takes.provenance_of(one)["seed"] for one in take.candidates] == [20, 21, 22, 23]
    assert bpy.ops.motion.show_candidate(number=3) == {"FINISHED"}
    assert bpy.ops.motion.accept() == {"FINISHED"}
    (kept,) = bpy.data.actions
    assert bpy.ops.motion.regenerate() == {"FINISHED"}
    assert pump.wait(TIMEOUT_S)
    again = armature.animation_data.action
    assert again != kept
    assert keys_of(again) == keys_of(kept)


def keys_of(action: bpy.types.Action) -> list[list[tuple[float, float]]]:
    curves = action_writer.curves_of(action).fcurves
    return [[tuple(point.co) for point in curve.keyframe_points] for curve in curves]


def test_stopping_the_engine_from_the_panel(
    armature: bpy.types.Object, engine: EngineCommand
) -> None:
    process = session.process
    assert bpy.ops.motion.engine_stop() == {"FINISHED"}
    assert pump.wait(TIMEOUT_S)
    assert session.state is EngineState.STOPPED
    assert process is not None
    assert process.exit_code == 0


def test_connecting_to_an_engine_that_runs_already(
    armature: bpy.types.Object,
    engine_python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "mine.json"
    set_in_preferences = SimpleNamespace(connection_file=str(file))
    monkeypatch.setattr(preferences, "get_preferences", lambda _=None: set_in_preferences)
    with pytest.raises(RuntimeError, match="No engine runs"):
        bpy.ops.motion.engine_start()
    words = [str(engine_python), "-m", "tests.fake_engine", "serve", "--connection-file", str(file)]
    with subprocess.Popen(words, cwd=REPOSITORY) as theirs:
        try:
            poll_until(file.exists)
            assert bpy.ops.motion.engine_start() == {"FINISHED"}
            poll_until(lambda: session.state is EngineState.READY)
            assert session.process is None
            assert generate(armature, "a person walks", seconds=1)
            assert bpy.ops.motion.engine_stop() == {"FINISHED"}
            assert session.state is EngineState.STOPPED
            time.sleep(0.5)
            assert theirs.poll() is None  # it was only left
        finally:
            theirs.kill()


def poll_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline, (session.state, session.message)
        pump.poll()
        time.sleep(0.02)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_script_is_told_of_a_length_that_is_none(
    armature: bpy.types.Object, seconds: float
) -> None:
    with pytest.raises(GenerateError, match="needs more than 0"):
        generate(armature, "a person walks", seconds=seconds)
    assert session.state is EngineState.STOPPED
