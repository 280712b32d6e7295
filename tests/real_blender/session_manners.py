"""In a real Blender window, everything that may happen while a job is under way.

Run by scripts/real_blender_session.py --session manners, with the extension installed: the
character gets another name, is deleted, is undone; other scenes, other files, edit mode, a render;
the engine is killed; the add-on is switched off and on. With the real engine, and pictures.
"""

# pyright: basic

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
import acting
import window
from acting import press, session, wait
from main_thread import MainThreadWatch

options = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text(encoding="utf-8"))
out = Path(options["out"])


def script() -> window.Script:
    """One after the other."""
    watch = MainThreadWatch(acting.EXTENSION)
    _fresh_scene()
    yield from window.show_tab(window.area(), "Marey")
    yield from acting.start_engine(options)
    yield from _another_name()
    yield from _deleted()
    yield from _undo_during_a_job()
    yield from _another_scene()
    yield from _edit_mode()
    yield from _while_rendering()
    yield from _sequence_as_strips()
    yield from _another_file()
    yield from _engine_killed()
    print(watch.report(), flush=True)
    assert not watch.over_limit(), f"held the main thread too long: {watch.over_limit()}"
    yield from _off_and_on()
    print("SESSION PASSED", flush=True)


def _fresh_scene() -> None:
    for placed in list(bpy.data.objects):
        bpy.data.objects.remove(placed)
    acting.in_view(bpy.ops.motion.add_mannequin)
    view = window.area().spaces.active
    view.shading.type = "SOLID"
    view.region_3d.view_distance = 7.0
    settings = bpy.context.scene.motion
    settings.seconds, settings.count, settings.seed = 2.0, 1, 5
    bpy.ops.ed.undo_push(message="A mannequin")


def _character() -> bpy.types.Object:
    return next(one for one in bpy.data.objects if one.type == "ARMATURE")


def _ask(*, steps: int = 0):
    """Press Generate; the job runs when this ends."""
    bpy.context.scene.motion.num_steps = steps  # many, so that there is time for what happens
    press("motion.generate")
    job = list(session().jobs)[-1]
    yield from wait(lambda: job.step > 0 or job.state.is_end, "the job runs")
    assert not [one.bl_idname for one in acting.main_window().modal_operators], "autosave waits"
    return job


def _end(job, state: str):
    yield from wait(lambda: job.state.is_end, f"the job is {state}")
    yield 0.5
    assert job.state.value == state, (job.state, job.message)


def _reject() -> None:
    press("motion.reject")
    assert not bpy.data.actions, list(bpy.data.actions)


def _another_name() -> window.Script:
    job = yield from _ask(steps=60)
    _character().name = "Hero"
    yield from _end(job, "done")
    assert acting.module("scene.takes").take_of(bpy.data.objects["Hero"]) is not None
    _reject()


def _deleted() -> window.Script:
    """The job says so; once the deletion is undone it can be tried again."""
    job = yield from _ask(steps=60)
    acting.in_view(bpy.ops.object.delete, "INVOKE_DEFAULT", True, confirm=False)
    yield from _end(job, "failed")
    assert "deleted" in job.message, job.message
    acting.shoot(out, "manners-1-deleted")
    yield from window.key("Z", ctrl=True)
    yield 0.5
    bpy.context.view_layer.objects.active = _character()
    press("motion.retry", job_id=job.job_id)
    yield from _end(list(session().jobs)[-1], "done")
    _reject()


def _undo_during_a_job() -> window.Script:
    """The motion comes afterwards, as a step of its own."""
    character = _character()
    character.location.x = 2.0
    bpy.ops.ed.undo_push(message="Moved")
    job = yield from _ask(steps=250)
    yield from window.key("Z", ctrl=True)
    assert not job.state.is_end, "the job was too short for this"
    yield from _end(job, "done")
    assert _character().location.x == 0.0
    assert acting.module("scene.takes").take_of(_character()) is not None
    yield from window.key("Z", ctrl=True)
    yield 0.5
    assert not bpy.data.actions, "one undo did not take the motion back"
    assert _character().location.x == 0.0, "more was undone than the motion"


def _another_scene() -> window.Script:
    job = yield from _ask(steps=60)
    first = bpy.context.scene
    other = bpy.data.scenes.new("Other")
    other.render.fps = 60
    acting.main_window().scene = other
    yield from _end(job, "done")
    acting.main_window().scene = first
    yield 0.5
    action = _character().animation_data.action
    assert tuple(action.frame_range) == (1, 48), tuple(action.frame_range)  # 2 s at 24
    bpy.data.scenes.remove(other)
    _reject()


def _edit_mode() -> window.Script:
    """A mesh is being edited when the motion comes; undo and leaving the mode break nothing."""
    character = _character()
    acting.in_view(bpy.ops.mesh.primitive_cube_add, location=(3, 0, 0))
    cube = bpy.context.object
    bpy.context.view_layer.objects.active = character
    job = yield from _ask(steps=60)
    bpy.context.view_layer.objects.active = cube
    acting.in_view(bpy.ops.object.mode_set, mode="EDIT")
    acting.in_view(bpy.ops.mesh.subdivide)
    bpy.ops.ed.undo_push(message="Subdivide")
    yield from _end(job, "done")
    yield from window.key("Z", ctrl=True)
    yield from window.key("Z", ctrl=True, shift=True)
    acting.in_view(bpy.ops.object.mode_set, mode="OBJECT")
    take = acting.module("scene.takes").take_of(_character())
    assert take is not None, "the motion is lost"
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    bpy.context.view_layer.objects.active = _character()
    yield 0.3
    _reject()


def _while_rendering() -> window.Script:
    """All frames that are rendered have the same motion; the new one comes after the last."""
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.resolution_percentage = 20
    scene.render.filepath = str(out / "frames" / "f")
    scene.frame_start, scene.frame_end = 1, 60
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(scene.camera)
    scene.camera.location, scene.camera.rotation_euler = (0, -8, 1), (1.57, 0, 0)
    job = yield from _ask(steps=100)
    acting.in_view(bpy.ops.render.render, "INVOKE_DEFAULT", animation=True)
    assert not job.state.is_end, "the job was too short for this"
    yield 0.3
    assert bpy.app.is_job_running("RENDER"), "it renders nothing"
    came_during = False
    deadline = 600
    while bpy.app.is_job_running("RENDER") and deadline > 0:
        came_during = came_during or job.num_written > 0
        deadline -= 1
        yield 0.2
    assert not came_during, "the motion came in the middle of the frames"
    yield from _end(job, "done")
    for other in list(bpy.context.window_manager.windows)[1:]:
        with bpy.context.temp_override(window=other):
            bpy.ops.wm.window_close()
    yield 1.0
    _reject()


def _sequence_as_strips() -> window.Script:
    """Two prompts, kept as NLA strips that touch."""
    settings = bpy.context.scene.motion
    settings.prompt = "a person walks forward"
    press("motion.add_prompt")
    settings.then[0].prompt, settings.then[0].seconds = "a person waves", 2.0
    settings.keep_as = "STRIP"
    bpy.context.scene.frame_set(20)
    job = yield from _ask()
    yield from _end(job, "done")
    acting.shoot(out, "manners-2-sequence")
    press("motion.accept")
    yield 1.0
    acting.shoot(out, "manners-3-strips")
    tracks = _character().animation_data.nla_tracks
    strips = [strip for track in tracks for strip in track.strips]
    print("strips:", [(one.name, one.frame_start, one.frame_end) for one in strips], flush=True)
    assert [strip.name for strip in strips] == ["a person walks forward", "a person waves"], strips
    assert strips[0].frame_start == 20, strips[0].frame_start
    assert strips[0].frame_end == strips[1].frame_start, "they don't touch"
    settings.then.clear()
    settings.keep_as = "ACTION"


def _another_file() -> window.Script:
    """The job ends, in the engine too, and nothing of it comes into the other file."""
    bpy.ops.wm.save_as_mainfile(filepath=str(out / "manners.blend"))
    job = yield from _ask(steps=500)
    bpy.ops.wm.read_homefile(use_empty=False)
    yield 2.0
    assert job.state.value == "failed", job.state
    assert not bpy.data.actions, list(bpy.data.actions)
    assert session().state.value == "ready", "the engine did not survive another file"
    bpy.ops.wm.open_mainfile(filepath=str(out / "manners.blend"))
    yield 2.0
    yield from window.show_tab(window.area(), "Marey")
    bpy.context.scene.motion.count = 1
    yield from _end((yield from _ask()), "done")  # the engine is not busy with the old job
    press("motion.reject")


def _engine_killed() -> window.Script:
    """The panel says so and leads on: start again, try again."""
    job = yield from _ask(steps=500)
    os.kill(session().process.pid, signal.SIGKILL)
    yield from wait(lambda: session().state.value == "lost", "the engine is missed", 60.0)
    yield 1.0
    assert job.state.value == "failed", job.state
    acting.shoot(out, "manners-4-engine-gone")
    press("motion.engine_start")
    yield from wait(lambda: session().state.value == "ready", "engine ready again")
    bpy.context.scene.motion.num_steps = 0
    press("motion.generate")
    yield from _end(list(session().jobs)[-1], "done")
    press("motion.reject")


def _off_and_on() -> window.Script:
    """Switched off in the middle of a job, nothing is left; on again, it works."""
    yield from _ask(steps=500)
    process = session().process
    timers = acting.module("scene.pump")
    poll = timers.poll
    bpy.ops.preferences.addon_disable(module=acting.EXTENSION)
    yield 1.0
    assert not process.is_running, "the engine still runs"
    assert not bpy.app.timers.is_registered(poll), "the timer still runs"
    assert not hasattr(bpy.types.Scene, "motion")
    acting.shoot(out, "manners-5-off")
    bpy.ops.preferences.addon_enable(module=acting.EXTENSION)
    yield 1.0
    yield from window.show_tab(window.area(), "Marey")
    yield from acting.start_engine(options)
    bpy.context.view_layer.objects.active = _character()
    bpy.context.scene.motion.seconds, bpy.context.scene.motion.count = 2.0, 1
    yield from _end((yield from _ask()), "done")


bpy.context.preferences.view.show_splash = False
window.drive(script())
