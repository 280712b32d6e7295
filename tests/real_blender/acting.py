"""What the sessions with a real engine have in common: buttons, and waiting for what they do."""

# pyright: basic

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import window

EXTENSION = "bl_ext.user_default.marey"
ENGINE_TIMEOUT_S = 400.0
MOTION_TIMEOUT_S = 500.0


def module(name: str) -> ModuleType:
    """A module of the installed add-on."""
    return importlib.import_module(f"{EXTENSION}.{name}")


def session() -> Any:
    """The add-on's state: engine, jobs."""
    return module("engine_link.session")


def main_window() -> bpy.types.Window:
    """Blender's first window."""
    return bpy.context.window_manager.windows[0]


def press(name: str, **words: object) -> None:
    """What a button does: call an operator where the button is."""
    view = window.area()
    group, function = name.split(".")
    place = {"window": main_window(), "area": view, "region": window.region(view, "UI")}
    with bpy.context.temp_override(**place):
        done = getattr(getattr(bpy.ops, group), function)("INVOKE_DEFAULT", True, **words)
    assert done == {"FINISHED"}, (name, done)


def in_view(operator: Callable[..., Any], *words: object, **named: object) -> None:
    """Call an operator over the 3D viewport."""
    view = window.area()
    place = {"window": main_window(), "area": view, "region": window.region(view, "WINDOW")}
    with bpy.context.temp_override(**place):
        operator(*words, **named)


def wait(check: Callable[[], bool], what: str, timeout_s: float = MOTION_TIMEOUT_S):
    """Let Blender work until something holds."""
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"{what}: not after {timeout_s:.0f} s"
        yield 0.05


def start_engine(options: dict[str, Any]):
    """Press Start with the engine that the session was given, and wait for it."""
    preferences = bpy.context.preferences.addons[EXTENSION].preferences
    preferences.engine_python = options["engine_python"]
    preferences.models_folder = options["models"] or ""
    preferences.device = "cpu"
    press("motion.engine_start")
    yield from wait(lambda: session().state.value == "ready", "engine ready", ENGINE_TIMEOUT_S)


def shoot(folder: Path, name: str) -> None:
    """A picture of the screen."""
    window.screenshot(folder / f"{name}.png")
    print("step", name, flush=True)
