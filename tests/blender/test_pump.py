"""The pump: messages become actions, failures become words, nothing stops the timer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import bpy
import pytest

from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.engine_link.jobs import Job, JobState
from blender_addon.engine_link.session import EngineState
from blender_addon.scene import action_writer, pump
from tests.blender_addon.rig.figures import walk_motion

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]


class FakeClient:
    """Yields the messages that it was given; remembers what was sent."""

    welcome = protocol.Welcome(engine_version="0", device="fake", models=[])
    refusal = ""
    is_ready = True
    is_dead = False

    def __init__(self) -> None:
        self.inbox: list[protocol.Message] = []
        self.sent: list[protocol.Message] = []

    def receive(self, budget_s: float) -> Iterator[protocol.Message]:
        while self.inbox:
            yield self.inbox.pop(0)

    def send(self, message: protocol.Message) -> None:
        self.sent.append(message)

    def close(self) -> None:
        pass


@pytest.fixture
def client(addon: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClient]:
    fake = FakeClient()
    session.reset()
    monkeypatch.setattr(session, "client", fake)
    monkeypatch.setattr(session, "state", EngineState.READY)
    yield fake
    session.reset()


def press_generate(client: FakeClient, armature: bpy.types.Object) -> Job:
    bpy.context.view_layer.objects.active = armature
    assert bpy.ops.motion.generate() == {"FINISHED"}
    return list(session.jobs)[-1]


def answer(client: FakeClient, job: Job, **changes: object) -> None:
    client.inbox.append(replace(walk_motion(10), job_id=job.job_id, **changes))


def test_generate_sends_the_scenes_settings(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    scene = bpy.context.scene
    scene.render.fps, scene.frame_current = 30, 12
    settings = scene.motion
    settings.prompt, settings.seconds, settings.seed = "a person jumps", 2.5, 42
    settings.num_steps, settings.guidance_scale, settings.model = 15, 3.0, "mdm-free"
    job = press_generate(client, mannequin)
    (request,) = client.sent
    assert request == protocol.PromptRequest(
        job_id=job.job_id,
        prompt="a person jumps",
        num_frames=75,
        fps=30.0,
        seed=42,
        num_steps=15,
        guidance_scale=3.0,
        model="mdm-free",
    )
    assert (job.armature_name, job.start_frame) == (mannequin.name, 12)


def test_a_result_is_keyed(client: FakeClient, mannequin: bpy.types.Object) -> None:
    bpy.context.scene.frame_current = 5
    job = press_generate(client, mannequin)
    client.inbox.append(protocol.JobProgress(job_id=job.job_id, step=1, num_steps=4))
    assert pump.poll() == pump.ACTIVE_INTERVAL_S
    assert (job.state, job.progress) == (JobState.RUNNING, 0.25)
    answer(client, job)
    assert pump.poll() == pump.IDLE_INTERVAL_S
    assert job.state is JobState.DONE
    assert mannequin.animation_data.action.frame_range[0] == 5


def test_settings_of_the_target_count_when_the_result_comes(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    job = press_generate(client, mannequin)
    mannequin.motion_target.picks.head = "neck"  # changed while the engine was at work
    mannequin.motion_target.root = "OBJECT"
    answer(client, job)
    pump.poll()
    assert job.state is JobState.DONE
    told = json.loads(mannequin.animation_data.action[action_writer.PROVENANCE_KEY])
    assert told["retarget"]["mapping"] == "Marey mannequin"
    bpy.context.scene.frame_set(1)
    begin = mannequin.matrix_world.translation.copy()
    bpy.context.scene.frame_set(10)
    assert (mannequin.matrix_world.translation - begin).length > 0.2


def test_settings_that_do_not_fit_fail_the_job_in_words(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    job = press_generate(client, mannequin)
    mannequin.motion_target.picks.head = "hat"
    answer(client, job)
    pump.poll()
    assert job.state is JobState.FAILED
    assert "hat" in job.message


def test_a_removed_armature_fails_its_job_only(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    job = press_generate(client, mannequin)
    bpy.data.objects.remove(mannequin)
    answer(client, job)
    pump.poll()
    assert job.state is JobState.FAILED
    assert "was deleted" in job.message
    assert "choose another character" in job.next_step


def test_an_unexpected_error_fails_the_job_and_not_the_timer(
    client: FakeClient, mannequin: bpy.types.Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(action_writer, "key_motion", broken)
    job = press_generate(client, mannequin)
    answer(client, job)
    assert pump.poll() is not None
    assert job.state is JobState.FAILED
    assert "system console" in job.message


def test_a_lost_engine_fails_its_jobs(client: FakeClient, mannequin: bpy.types.Object) -> None:
    job = press_generate(client, mannequin)
    client.is_dead = True
    client.is_ready = False
    assert pump.poll() is None
    assert session.state is EngineState.LOST
    assert session.message
    assert job.state is JobState.FAILED
    assert bpy.ops.motion.engine_start.poll()


def test_cancel_asks_the_engine(client: FakeClient, mannequin: bpy.types.Object) -> None:
    job = press_generate(client, mannequin)
    assert bpy.ops.motion.cancel(job_id=job.job_id) == {"FINISHED"}
    assert client.sent[-1] == protocol.CancelJob(job_id=job.job_id)
    client.inbox.append(protocol.JobCancelled(job_id=job.job_id))
    pump.poll()
    assert job.state is JobState.CANCELLED
    assert bpy.ops.motion.cancel(job_id=job.job_id) == {"CANCELLED"}
    assert bpy.ops.motion.clear() == {"FINISHED"}
    assert len(session.jobs) == 0


def test_another_file_ends_the_jobs(client: FakeClient, mannequin: bpy.types.Object) -> None:
    job = press_generate(client, mannequin)
    bpy.ops.wm.read_homefile(use_empty=True)
    assert (job.state, job.message) == (JobState.FAILED, "Another file was opened")
    assert client.sent[-1] == protocol.CancelJob(job_id=job.job_id)


def test_an_unknown_rig_is_refused_when_pressed(client: FakeClient) -> None:
    armature = bpy.data.objects.new("Crane", bpy.data.armatures.new("Crane"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    with pytest.raises(RuntimeError, match="no rig that Marey knows"):
        bpy.ops.motion.generate()
    assert client.sent == []


def test_wait_ends_when_the_jobs_have(client: FakeClient, mannequin: bpy.types.Object) -> None:
    job = press_generate(client, mannequin)
    assert not pump.wait(0.3)
    answer(client, job)
    assert pump.wait(5)
    assert job.state is JobState.DONE


def test_polling_is_short_but_for_the_write(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    job = press_generate(client, mannequin)
    longest = 0.0
    for step in range(100):
        client.inbox.append(protocol.JobProgress(job_id=job.job_id, step=step, num_steps=100))
        start = time.thread_time()
        pump.poll()
        longest = max(longest, time.thread_time() - start)
    assert longest < 0.02
