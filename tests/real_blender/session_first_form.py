"""In a real Blender window: start the engine, press Generate, see the character move, undo.

Run by scripts/real_blender_session.py, with the extension installed. The buttons are pressed
where they are drawn: a press that does nothing fails the session.
"""

# pyright: basic

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import window
from main_thread import MainThreadWatch

EXTENSION = "bl_ext.user_default.marey"
ROW = 20  # pixels of a row of buttons at UI scale 1, its gap included
ENGINE_TIMEOUT_S = 240.0
MOTION_TIMEOUT_S = 120.0
options = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text(encoding="utf-8"))
out = Path(options["out"])
session = importlib.import_module(f"{EXTENSION}.engine_link.session")
watch = MainThreadWatch(EXTENSION)


def script() -> window.Script:
    """The session, step by step."""
    _set_preferences()
    mannequin = _add_mannequin()
    view = window.area()
    yield from window.show_tab(view, "Marey")
    window.screenshot(out / "1-panel.png")
    yield from _press_start(view)
    yield from _wait_for(lambda: session.state.value == "ready", ENGINE_TIMEOUT_S, "engine ready")
    bpy.context.scene.motion.prompt = options["prompt"]
    bpy.context.scene.motion.seconds = 4.0
    yield 1.0
    window.screenshot(out / "2-ready.png")
    yield from _press_generate(view)
    longest = yield from _wait_for_job()
    action = mannequin.animation_data.action
    print("action:", action.name, tuple(action.frame_range), "longest gap:", round(longest, 3))
    yield from _see_it_move(mannequin)
    yield from _undo_takes_it_back()
    print(watch.report(), flush=True)
    assert not watch.over_limit(), f"held the main thread too long: {watch.over_limit()}"
    print("SESSION PASSED", flush=True)


def _set_preferences() -> None:
    preferences = bpy.context.preferences.addons[EXTENSION].preferences
    preferences.engine_python = options["engine_python"]
    preferences.models_folder = options["models"] or ""
    preferences.device = "cpu"


def _add_mannequin() -> bpy.types.Object:
    for placed in list(bpy.data.objects):
        bpy.data.objects.remove(placed)
    view = window.area()
    with bpy.context.temp_override(area=view, region=window.region(view, "WINDOW")):
        bpy.ops.motion.add_mannequin()
    view.spaces.active.shading.type = "SOLID"
    view.spaces.active.region_3d.view_distance = 9.0
    bpy.ops.ed.undo_push(message="Session begins")
    return bpy.context.object


def _press_start(view: bpy.types.Area) -> window.Script:
    """The button right of the state, in the first row below the first panel's header."""
    sidebar = window.region(view, "UI")
    x = sidebar.x + 0.62 * sidebar.width
    yield from window.click(x, sidebar.y + sidebar.height - 2.2 * ROW)
    assert session.state.value != "stopped", f"Start was not pressed: {session.state}"
    print("pressed Start:", session.state.value, flush=True)


def _press_generate(view: bpy.types.Area) -> window.Script:
    """The tall button of the second panel: found by pressing downwards until a job is there."""
    sidebar = window.region(view, "UI")
    x = sidebar.x + 0.35 * sidebar.width
    for row in (20.2, 19.8, 20.6, 19.4):
        yield from window.click(x, sidebar.y + sidebar.height - row * ROW)
        if len(session.jobs):
            print("pressed Generate, row", row, flush=True)
            return
    raise AssertionError("Generate was not found in the sidebar")


def _wait_for(check, timeout_s: float, what: str) -> window.Script:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"{what}: not after {timeout_s} s; {session.message}"
        assert session.state.value != "lost", session.message
        yield 0.1


def _wait_for_job():
    """Wait for the result; return the longest time between two turns of the event loop."""
    deadline = time.monotonic() + MOTION_TIMEOUT_S
    longest, before = 0.0, time.monotonic()
    while session.jobs.active:
        assert time.monotonic() < deadline, f"no motion after {MOTION_TIMEOUT_S} s"
        yield 0.02
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    failed = [job.message for job in session.jobs if job.state.value != "done"]
    assert not failed, failed
    return longest


def _see_it_move(mannequin: bpy.types.Object) -> window.Script:
    """Another frame, another pose; both are photographed."""
    scene = bpy.context.scene
    first, last = (round(frame) for frame in mannequin.animation_data.action.frame_range)
    scene.frame_start, scene.frame_end = first, last
    poses = []
    for number, frame in enumerate((first, (first + last) // 2, last)):
        scene.frame_set(frame)
        yield 0.5
        window.screenshot(out / f"3-frame-{number}.png")
        poses.append([tuple(bone.matrix.translation) for bone in mannequin.pose.bones])
    moved = np.abs(np.array(poses) - poses[0]).max()
    print(f"moved by {moved:.2f} m", flush=True)
    assert moved > 0.05, "the character stands still"


def _undo_takes_it_back() -> window.Script:
    """One step: the action is gone, the mannequin stays."""
    assert bpy.data.actions, "no action to undo"
    view = window.area()
    with bpy.context.temp_override(area=view, region=window.region(view, "WINDOW")):
        bpy.ops.ed.undo()
    yield 0.5
    animated = bpy.data.objects["Marey Mannequin"].animation_data
    assert animated is None or animated.action is None, "one undo did not take the action back"
    print("one undo took the action back", flush=True)


bpy.context.preferences.view.show_splash = False
window.drive(script())
