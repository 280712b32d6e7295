"""In a real Blender window: press Set Up Engine, read the plan, agree, see it made, copy a report.

Run by scripts/real_blender_session.py --session set_up, with the extension installed. The engine's
packages are tiny stand-ins: every step is the real one, but no torch is unpacked.
"""

# pyright: basic

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
import window
from main_thread import MainThreadWatch

EXTENSION = "bl_ext.user_default.marey"
TIMEOUT_S = 240.0
options = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text(encoding="utf-8"))
out = Path(options["out"])
session = importlib.import_module(f"{EXTENSION}.engine_link.session")
packages = importlib.import_module(f"{EXTENSION}.engine_link.engine_packages")
operators = importlib.import_module(f"{EXTENSION}.ui.set_up_operators")
watch = MainThreadWatch(EXTENSION)
operators._poll = watch._watched(operators._poll, "set-up timer")
operators._start_engine = watch._watched(operators._start_engine, "start of the engine")


def script() -> window.Script:
    """The session, step by step."""
    packages.TEXT_ENCODER_SHA256 = options["text_encoder_sha256"]
    preferences = bpy.context.preferences.addons[EXTENSION].preferences
    preferences.environment_folder = str(out / "data")
    page = yield from _show_preferences()
    window.screenshot(out / "set-up-1-nothing-yet.png")
    yield from _press_set_up(page, "failed")
    assert "Choose the engine's wheel" in session.set_up.error, session.set_up.error
    window.screenshot(out / "set-up-2-what-is-missing.png")
    preferences.packages_folder = options["packages"]
    preferences.engine_wheel = options["wheel"]
    yield from _press_set_up(page, "planned")
    assert not (out / "data").exists(), "written before a yes"
    yield 1.0
    window.screenshot(out / "set-up-3-the-plan.png")
    yield from _press_enter()
    assert session.set_up.phase.value == "running", session.set_up.phase
    yield 3.0
    window.screenshot(out / "set-up-4-at-work.png")
    yield from _wait(lambda: not session.set_up.is_busy)
    assert session.set_up.phase.value == "done", session.set_up.error
    yield 2.0
    assert session.process is not None or session.state.value == "lost", "it was not started"
    window.screenshot(out / "set-up-5-done.png")
    bpy.ops.motion.copy_report()
    report = bpy.context.window_manager.clipboard
    assert "Environment: ready" in report, report
    assert str(out) not in report, report
    print(watch.report(), flush=True)
    assert not watch.over_limit(), f"held the main thread too long: {watch.over_limit()}"
    print("SESSION PASSED", flush=True)


def _show_preferences() -> window.Script:
    """Turn the 3D viewport into the preferences: a window of their own may open out of sight."""
    page = window.area()
    page.type = "PREFERENCES"
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "Marey"
    yield 1.0
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=page):
        bpy.ops.preferences.addon_expand(module=EXTENSION)
    yield 1.5
    return page


def _press_set_up(page: bpy.types.Area, phase: str) -> window.Script:
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=page):
        bpy.ops.motion.set_up_engine()
    yield from _wait(lambda: session.set_up.phase.value == phase)
    yield 1.0


def _press_enter() -> window.Script:
    event = bpy.context.window_manager.windows[0].event_simulate
    for value in ("PRESS", "RELEASE"):
        event(type="RET", value=value, x=400, y=300)
        yield 0.3


def _wait(done) -> window.Script:
    deadline = time.monotonic() + TIMEOUT_S
    while not done():
        assert time.monotonic() < deadline, (session.set_up.phase, session.set_up.error)
        yield 0.1


bpy.context.preferences.view.show_splash = False
window.drive(script())
