"""In a real Blender window, an artist's session from the zip to a motion that is made again.

Run by scripts/real_blender_session.py --session artist: install the zip from disk, start the
engine, type a prompt, four candidates on a Rigify human, pick one, accept it, undo, redo, cancel
another job in the middle, save, open, regenerate. A picture of the screen is taken at each step.
"""

# pyright: basic

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import window
from main_thread import MainThreadWatch

EXTENSION = "bl_ext.user_default.marey"
ENGINE_TIMEOUT_S = 400.0
MOTION_TIMEOUT_S = 500.0
ROW = 20  # pixels of a row of buttons at UI scale 1, its gap included
COUNT = 4
options = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text(encoding="utf-8"))
out = Path(options["out"])
added: dict[str, Any] = {}  # modules of the add-on, once it is installed


def script() -> window.Script:
    """The session, step by step."""
    yield from _install()
    watch = MainThreadWatch(EXTENSION)
    rig = _add_human()
    yield from _open_tab()
    shoot("03-panel")
    yield from _start_engine()
    yield from _type_prompt()
    yield from _generate_candidates(rig)
    yield from _pick(rig)
    name = yield from _accept(rig)
    yield from _undo_and_redo(name)
    yield from _second_window()
    yield from _cancel_another()
    keys = _keys(bpy.data.actions[name])
    yield from _save_and_open()
    yield from _regenerate(name, keys)
    yield from _large_letters()
    print(watch.report(), flush=True)
    assert not watch.over_limit(), f"held the main thread too long: {watch.over_limit()}"
    print("SESSION PASSED", flush=True)


def shoot(name: str) -> None:
    """A picture of the screen."""
    window.screenshot(out / f"artist-{name}.png")
    print("step", name, flush=True)


def _install() -> window.Script:
    """Install the zip as the preferences do, and look at what they show then."""
    page = window.area()
    page.type = "PREFERENCES"
    bpy.context.preferences.active_section = "ADDONS"
    yield 1.0
    bpy.ops.extensions.package_install_files(
        filepath=options["archive"], repo="user_default", enable_on_install=True, overwrite=True
    )
    yield 1.0
    addon = bpy.context.preferences.addons[EXTENSION]
    bpy.context.window_manager.addon_search = "Marey"
    with bpy.context.temp_override(window=_window(), area=page):
        bpy.ops.preferences.addon_expand(module=EXTENSION)
    yield 1.5
    shoot("01-installed")
    for name in ("engine_link.session", "scene.takes", "scene.action_writer"):
        added[name.rpartition(".")[2]] = importlib.import_module(f"{EXTENSION}.{name}")
    page.type = "VIEW_3D"
    yield from window.show_tab(page, "Marey")
    yield 1.0
    shoot("02-no-engine-yet")
    addon.preferences.engine_python = options["engine_python"]
    addon.preferences.models_folder = options["models"] or ""
    addon.preferences.device = "cpu"


def _add_human() -> bpy.types.Object:
    for placed in list(bpy.data.objects):
        bpy.data.objects.remove(placed)
    bpy.ops.preferences.addon_enable(module="rigify")
    view = window.area()
    with bpy.context.temp_override(
        window=_window(), area=view, region=window.region(view, "WINDOW")
    ):
        bpy.ops.object.armature_human_metarig_add()
        metarig = bpy.context.object
        bpy.ops.pose.rigify_generate()
        rig = bpy.context.object
        bpy.data.objects.remove(metarig)
        bpy.context.view_layer.objects.active = rig
        rig.select_set(True)
    view.spaces.active.shading.type = "SOLID"
    view.spaces.active.region_3d.view_distance = 7.0
    view.spaces.active.region_3d.view_location = (0.0, -1.0, 0.9)
    bpy.ops.ed.undo_push(message="A human")
    return rig


def _open_tab() -> window.Script:
    yield from window.show_tab(window.area(), "Marey")
    yield 1.0


def _start_engine() -> window.Script:
    _press("motion.engine_start")
    yield 1.0
    session = added["session"]
    assert session.state.value != "stopped", session.state
    yield from _wait(lambda: session.state.value == "ready", ENGINE_TIMEOUT_S, "engine ready")
    yield 1.0
    shoot("04-engine-ready")


def _type_prompt() -> window.Script:
    """Click into the field, type, press Enter; the field offers what the model knows."""
    settings = bpy.context.scene.motion
    settings.prompt = before = "what was there before"
    yield 0.5
    sidebar = window.region(window.area(), "UI")
    for row in (6.8, 6.4, 7.2):  # of the field, which is the first of the second panel
        y = sidebar.y + sidebar.height - row * ROW
        yield from window.click(sidebar.x + 0.4 * sidebar.width, y)
        yield from window.type_text("a person wal")
        yield 0.8
        shoot("05-typing")
        yield from window.type_text(options["prompt"])
        yield 0.5
        yield from window.press("RET")
        if settings.prompt != before:
            break
    wanted = options["prompt"]
    assert settings.prompt == wanted, f"the field has {settings.prompt!r}"
    settings.seconds, settings.count, settings.seed = 3.0, COUNT, 11


def _generate_candidates(rig: bpy.types.Object) -> window.Script:
    bpy.context.scene.frame_set(1)
    yield 1.0
    shoot("06-asked")
    _press("motion.generate")
    yield 0.3
    session = added["session"]
    yield from _wait_for_jobs(picture="07-at-work")
    (job,) = session.jobs
    assert (job.state.value, job.num_written) == ("done", COUNT), (job.state, job.message)
    take = added["takes"].take_of(rig)
    assert len(take.candidates) == COUNT, take
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 72
    bpy.context.scene.frame_set(40)
    yield 1.5
    shoot("08-candidates")


def _pick(rig: bpy.types.Object) -> window.Script:
    """Each candidate is another motion of the same character."""
    seen = []
    for number in range(1, COUNT + 1):
        _press("motion.show_candidate", number=number)
        yield 0.7
        seen.append([tuple(bone.matrix.translation) for bone in rig.pose.bones])
        if number == 3:
            shoot("09-third")
    apart = [np.abs(np.array(one) - seen[0]).max() for one in seen[1:]]
    print("candidates differ from the first by", np.round(apart, 2), "m", flush=True)
    assert min(apart) > 0.01, apart
    _press("motion.show_candidate", number=3)
    yield 0.5


def _accept(rig: bpy.types.Object):
    _press("motion.accept")
    yield 1.0
    action = rig.animation_data.action
    assert list(bpy.data.actions) == [action], list(bpy.data.actions)
    shoot("10-accepted")
    return action.name


def _undo_and_redo(name: str) -> window.Script:
    takes = added["takes"]
    yield from window.key("Z", ctrl=True)
    yield 1.0
    take = takes.take_of(_rig())
    assert take is not None, "undo did not bring the candidates back"
    assert (len(take.candidates), take.shown) == (COUNT, 2), take
    shoot("11-undone")
    yield from window.key("Z", ctrl=True, shift=True)
    yield 1.0
    assert takes.take_of(_rig()) is None
    assert _rig().animation_data.action.name == name
    shoot("12-redone")


def _second_window() -> window.Script:
    """A job in a Blender of two windows."""
    bpy.ops.wm.window_new()
    yield 1.5
    bpy.context.scene.motion.count, bpy.context.scene.motion.seconds = 1, 2.0
    _press("motion.generate")
    yield from _wait_for_jobs()
    assert added["takes"].take_of(_rig()) is not None
    second = bpy.context.window_manager.windows[1]
    with bpy.context.temp_override(window=second):
        bpy.ops.wm.window_close()
    yield 1.0
    _press("motion.reject")
    yield 0.5
    assert len(bpy.data.actions) == 1, list(bpy.data.actions)


def _cancel_another() -> window.Script:
    session, settings = added["session"], bpy.context.scene.motion
    settings.prompt, settings.seconds = "a person dances", 30.0
    settings.count, settings.num_steps = 8, 200
    _press("motion.generate")
    job = list(session.jobs)[-1]
    yield from _wait(lambda: job.step > 0, MOTION_TIMEOUT_S, "the job runs")
    yield 1.0
    shoot("13-another-at-work")
    _press("motion.cancel", job_id=job.job_id)
    yield from _wait(lambda: job.state.is_end, MOTION_TIMEOUT_S, "the job has ended")
    yield 1.0
    assert job.state.value == "cancelled", job.state
    assert len(bpy.data.actions) == 1, list(bpy.data.actions)
    shoot("14-cancelled")
    yield from window.scroll(window.region(window.area(), "UI"), 12)
    shoot("14-cancelled-list")
    yield from window.scroll(window.region(window.area(), "UI"), -12)
    settings.count, settings.num_steps = 1, 0


def _save_and_open() -> window.Script:
    path = str(out / "artist.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    yield 1.0
    bpy.ops.wm.open_mainfile(filepath=path, use_scripts=True)  # Rigify's own
    yield 3.0
    assert added["session"].state.value == "ready", "the engine did not survive opening a file"
    yield from _open_tab()
    shoot("15-opened")


def _regenerate(name: str, keys: dict) -> window.Script:
    _press("motion.regenerate")
    yield from _wait_for_jobs()
    again = _rig().animation_data.action
    assert again.name != name, "no new action"
    made = _keys(again)
    assert made.keys() == keys.keys()
    # One of a batch and alone, its numbers differ in their last digits.
    apart = max(np.abs(made[curve] - keys[curve]).max() for curve in keys)
    assert apart < 1e-3, f"the same prompt and seed gave other keys, by {apart}"
    first = _keys(bpy.data.actions[name])
    assert all(np.array_equal(first[curve], keys[curve]) for curve in keys), "it was changed"
    bpy.context.scene.frame_set(40)
    bpy.context.scene.motion.prompt = options["prompt"]
    yield 1.5
    shoot("16-regenerated")
    yield from window.scroll(window.region(window.area(), "UI"), 12)
    shoot("17-again")
    yield from window.scroll(window.region(window.area(), "UI"), -12)
    print(f"regenerated: {len(keys)} curves, apart by {apart:.1e} at most", flush=True)


def _large_letters() -> window.Script:
    """The same on a display of high resolution: nothing is cut off."""
    bpy.context.scene.motion.count = 2
    _press("motion.vary")
    yield from _wait_for_jobs()
    bpy.context.preferences.view.ui_scale = 1.5
    for _ in range(3):  # panels find their places only when they are drawn again
        yield 1.0
        for area in _window().screen.areas:
            area.tag_redraw()
    yield 1.0
    shoot("18-large-letters")
    bpy.context.preferences.view.ui_scale = 1.0


def _window() -> bpy.types.Window:
    return bpy.context.window_manager.windows[0]


def _rig() -> bpy.types.Object:
    return next(one for one in bpy.data.objects if one.type == "ARMATURE")


def _press(name: str, **words: object) -> None:
    """What a button does: call an operator where the button is."""
    view = window.area()
    module, function = name.split(".")
    with bpy.context.temp_override(window=_window(), area=view, region=window.region(view, "UI")):
        done = getattr(getattr(bpy.ops, module), function)("INVOKE_DEFAULT", True, **words)
    assert done == {"FINISHED"}, (name, done)


def _keys(action: bpy.types.Action) -> dict:
    curves = added["action_writer"].curves_of(action).fcurves
    keys = {}
    for curve in curves:
        points = np.empty(2 * len(curve.keyframe_points), dtype=np.float32)
        curve.keyframe_points.foreach_get("co", points)
        keys[curve.data_path, curve.array_index] = points
    return keys


def _wait_for_jobs(picture: str = "") -> window.Script:
    session = added["session"]
    deadline = time.monotonic() + MOTION_TIMEOUT_S
    while session.jobs.active:
        assert time.monotonic() < deadline, f"no motion after {MOTION_TIMEOUT_S} s"
        assert session.state.value != "lost", session.message
        if picture and any(0.1 < job.progress < 1 for job in session.jobs.active):
            shoot(picture)
            picture = ""
        yield 0.05


def _wait(check, timeout_s: float, what: str) -> window.Script:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"{what}: not after {timeout_s} s"
        assert added["session"].state.value != "lost", added["session"].message
        yield 0.1


bpy.context.preferences.view.show_splash = False
window.drive(script())
