"""What happens around a job while it is under way: undo, saving, deletion, new names, scenes."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

import blender_addon
from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.engine_link.jobs import Job, JobState
from blender_addon.engine_link.session import EngineState
from blender_addon.scene import pump, takes
from blender_addon.scene.action_writer import PROVENANCE_KEY
from blender_addon.ui import panels, panels_jobs, panels_takes
from tests.blender.test_panels import FakeLayout, draw
from tests.blender.test_pump import FakeClient
from tests.blender.test_takes import candidate_of, client, generate, state_of_file

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

__all__ = ["client"]  # a fixture


def press(armature: bpy.types.Object, count: int = 1) -> Job:
    bpy.context.view_layer.objects.active = armature
    bpy.context.scene.motion.count = count
    assert bpy.ops.motion.generate() == {"FINISHED"}
    return list(session.jobs)[-1]


def arrive(client: FakeClient, job: Job, candidate: int = 0, count: int = 1) -> None:
    client.inbox.append(candidate_of(job, candidate, count))
    pump.poll()


def test_pressing_generate_changes_nothing_in_the_file(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    before = state_of_file(mannequin)
    press(mannequin, 4)
    assert state_of_file(mannequin) == before


def test_undo_during_a_job(client: FakeClient, mannequin: bpy.types.Object) -> None:
    name = mannequin.name
    bpy.ops.ed.undo_push(message="mannequin")
    mannequin.location.x = 3.0
    bpy.ops.ed.undo_push(message="moved")
    job = press(mannequin)
    bpy.ops.ed.undo()
    arrive(client, job)
    assert job.state is JobState.DONE
    again = bpy.data.objects[name]
    assert again.location.x == 0.0
    assert takes.take_of(again) is not None


def test_undo_between_candidates(client: FakeClient, mannequin: bpy.types.Object) -> None:
    name = mannequin.name
    bpy.ops.ed.undo_push(message="mannequin")
    bpy.context.scene.frame_current = 2
    bpy.ops.ed.undo_push(message="frame")
    job = press(mannequin, 3)
    arrive(client, job, 0, 3)
    bpy.ops.ed.undo()
    assert len(bpy.data.actions) == 0
    arrive(client, job, 1, 3)
    arrive(client, job, 2, 3)
    take = takes.take_of(bpy.data.objects[name])
    assert job.state is JobState.DONE
    assert len(take.candidates) == 2
    bpy.ops.motion.reject()
    assert len(bpy.data.actions) == 0


def test_undo_of_the_character_itself(client: FakeClient) -> None:
    bpy.ops.ed.undo_push(message="empty")
    bpy.ops.motion.add_mannequin()
    bpy.ops.ed.undo_push(message="mannequin")
    job = press(bpy.context.object)
    bpy.ops.ed.undo()
    arrive(client, job)
    assert job.state is JobState.FAILED
    assert job.next_step.startswith("Undo that")
    assert len(bpy.data.actions) == 0


def test_a_new_name_does_no_harm(client: FakeClient, mannequin: bpy.types.Object) -> None:
    job = press(mannequin)
    name = mannequin.name
    mannequin.name = "Hero"
    impostor = bpy.data.objects.new(name, bpy.data.armatures.new("Other"))
    bpy.context.scene.collection.objects.link(impostor)
    arrive(client, job)
    assert job.state is JobState.DONE
    assert takes.take_of(mannequin) is not None
    assert impostor.animation_data is None


def test_deletion_fails_the_job_and_can_be_tried_again(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    bpy.context.scene.motion_capture.armature = mannequin  # still points at it afterwards
    bpy.ops.ed.undo_push(message="mannequin")
    job = press(mannequin)
    bpy.ops.object.delete()
    bpy.ops.ed.undo_push(message="deleted")
    arrive(client, job)
    assert job.state is JobState.FAILED
    told = draw(panels_jobs.MOTION_PT_jobs)
    assert "Try Again" in told
    assert "was deleted" in " ".join(told)
    bpy.ops.ed.undo()
    assert bpy.ops.motion.retry(job_id=job.job_id) == {"FINISHED"}
    (again,) = session.jobs
    assert client.sent[-1].seed == client.sent[-2].seed
    arrive(client, again)
    assert again.state is JobState.DONE


def test_saving_during_a_job(
    client: FakeClient, mannequin: bpy.types.Object, tmp_path: Path
) -> None:
    job = press(mannequin, 2)
    arrive(client, job, 0, 2)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "half.blend"), copy=True)
    arrive(client, job, 1, 2)
    assert job.state is JobState.DONE
    assert len(takes.take_of(mannequin).candidates) == 2
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "half.blend"))
    opened = bpy.data.objects["Marey Mannequin"]
    assert len(takes.take_of(opened).candidates) == 1


def test_another_file_during_a_job(
    client: FakeClient, mannequin: bpy.types.Object, tmp_path: Path
) -> None:
    job = press(mannequin, 2)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "mine.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    arrive(client, job)
    assert (job.state, job.message) == (JobState.FAILED, "Another file was opened")
    assert len(bpy.data.actions) == 0
    assert client.sent[-1] == protocol.CancelJob(job_id=job.job_id)


def test_another_scene_during_a_job(client: FakeClient, mannequin: bpy.types.Object) -> None:
    scene = bpy.context.scene
    job = press(mannequin)
    other = bpy.data.scenes.new("Other")
    other.render.fps = 60
    scene.name = "Renamed"
    bpy.context.window.scene = other
    arrive(client, job)
    assert job.state is JobState.DONE
    assert tuple(mannequin.animation_data.action.frame_range) == (1, 10)  # at the job's rate


def test_the_engine_goes_in_the_middle_of_candidates(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    job = press(mannequin, 3)
    arrive(client, job, 0, 3)
    client.is_dead, client.is_ready = True, False
    pump.poll()
    assert (job.state, job.num_in_undo) == (JobState.FAILED, 1)
    assert "Start the engine" in job.next_step
    assert not bpy.ops.motion.retry.poll()
    assert bpy.ops.motion.accept() == {"FINISHED"}
    assert len(bpy.data.actions) == 1


def test_dragging_a_bone_is_not_disturbed(
    client: FakeClient, mannequin: bpy.types.Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = press(mannequin)
    monkeypatch.setattr(pump, "_is_held", lambda: True)
    client.inbox.append(candidate_of(job, 0, 1))
    assert pump.poll() == pump.ACTIVE_INTERVAL_S
    assert len(bpy.data.actions) == 0
    monkeypatch.undo()
    monkeypatch.setattr(session, "client", client)
    monkeypatch.setattr(session, "state", EngineState.READY)
    pump.poll()
    assert job.state is JobState.DONE


class OBJECT_OT_marey_stream(bpy.types.Operator):  # noqa: N801 - as Blender has it
    """Of another add-on: it listens for as long as Blender runs."""

    bl_idname = "object.marey_stream"
    bl_label = "Stream"


@pytest.mark.parametrize(
    ("operator", "is_held"),
    [
        ("TRANSFORM_OT_translate", True),
        ("MESH_OT_extrude_region_move", True),
        ("SCULPT_OT_brush_stroke", True),
        ("SCREEN_OT_region_scale", False),
        ("OBJECT_OT_marey_stream", False),
    ],
)
def test_what_the_artist_holds(
    monkeypatch: pytest.MonkeyPatch, operator: str, is_held: bool
) -> None:
    running = SimpleNamespace(modal_operators=[SimpleNamespace(bl_idname=operator)])
    context = SimpleNamespace(window_manager=SimpleNamespace(windows=[running]))
    bpy.utils.register_class(OBJECT_OT_marey_stream)
    try:
        fake = SimpleNamespace(app=bpy.app, types=bpy.types, context=context)
        monkeypatch.setattr(pump, "bpy", fake)
        assert pump._is_held() == is_held
    finally:
        bpy.utils.unregister_class(OBJECT_OT_marey_stream)


def test_frames_that_are_rendered_all_have_the_same_motion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = SimpleNamespace(is_job_running=lambda kind: kind == "RENDER")
    monkeypatch.setattr(pump, "bpy", SimpleNamespace(app=app))
    assert pump._is_held()


def test_details_are_copied_without_folders(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    job = press(mannequin)
    failed = protocol.JobFailed(
        job_id=job.job_id, code="internal", message="It broke", detail="File /home/me/secret/x.py"
    )
    client.inbox.append(failed)
    pump.poll()
    assert bpy.ops.motion.copy_details(job_id=job.job_id) == {"FINISHED"}
    text = bpy.context.window_manager.clipboard
    if text:  # background Blender may have no clipboard
        assert "It broke" in text
        assert "secret" not in text
    assert "copy the details" in " ".join(draw(panels_jobs.MOTION_PT_jobs))


def test_drawing_is_quick_in_a_large_file(client: FakeClient, mannequin: bpy.types.Object) -> None:
    for number in range(2000):
        bpy.data.actions.new(f"a{number}")[PROVENANCE_KEY] = "x" * 2000
    generate(client, mannequin, 8)
    begun = time.thread_time()
    for panel in (panels.MOTION_PT_request, panels_takes.MOTION_PT_candidates):
        draw(panel)
    assert time.thread_time() - begun < 0.02


@pytest.mark.parametrize(("width", "scale"), [(130, 1.0), (280, 1.0), (560, 2.0), (200, 2.0)])
def test_every_width_and_scale_is_drawn(
    client: FakeClient, mannequin: bpy.types.Object, width: int, scale: float
) -> None:
    generate(client, mannequin, 8, prompts=[{"prompt": "a", "num_frames": 5}] * 2)
    bpy.context.scene.motion.keep_as = "STRIP"
    bpy.ops.motion.add_prompt()
    told: list[str] = []
    context: Any = SimpleNamespace(
        scene=bpy.context.scene,
        object=mannequin,
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=scale)),
        region=SimpleNamespace(width=width),
    )
    for panel in (
        panels.MOTION_PT_engine,
        panels.MOTION_PT_request,
        panels_takes.MOTION_PT_candidates,
        panels_takes.MOTION_PT_again,
        panels_jobs.MOTION_PT_jobs,
    ):
        panel.draw(SimpleNamespace(layout=FakeLayout(told)), context)
    assert {"1", "8", "Accept", "Regenerate"} <= set(told)


def test_everything_has_a_tooltip(addon: None) -> None:
    groups = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("MOTION_PG")]
    silent = [
        f"{group.__name__}.{name}"
        for group in groups
        for name, shown in group.bl_rna.properties.items()
        if name not in ("rna_type", "name", "picks", "then") and not shown.description
    ]
    assert silent == []


def test_off_and_on_with_candidates_in_the_file(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    generate(client, mannequin, 3)
    for _ in range(20):
        blender_addon.unregister()
        blender_addon.register()
    assert len(takes.take_of(mannequin).candidates) == 3
    assert bpy.ops.motion.reject() == {"FINISHED"}
    assert len(bpy.data.actions) == 0
