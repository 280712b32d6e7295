"""Drives a real Blender window with simulated events (start it with --enable-event-simulate)."""

# pyright: basic

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Generator
from pathlib import Path

import bpy

Script = Generator[float, None, None]


def drive(script: Script, *, first_interval: float = 2.0) -> None:
    """Run a script in Blender's event loop; what it yields are seconds to let Blender work."""

    def step() -> float | None:
        try:
            return next(script) or 0.05
        except StopIteration:
            _quit(0)
        except BaseException:  # noqa: BLE001 - whatever it is, the window must not stay open
            traceback.print_exc()
            _quit(1)
        return None

    bpy.app.timers.register(step, first_interval=first_interval, persistent=True)


def area(kind: str = "VIEW_3D") -> bpy.types.Area:
    """The window's first area of a kind."""
    return next(
        one for one in bpy.context.window_manager.windows[0].screen.areas if one.type == kind
    )


def region(of: bpy.types.Area, kind: str) -> bpy.types.Region:
    """An area's region of a kind."""
    return next(one for one in of.regions if one.type == kind)


def click(x: float, y: float) -> Script:
    """Press and release the left button at a place of the window, from its lower left."""
    event = bpy.context.window_manager.windows[0].event_simulate
    event(type="MOUSEMOVE", value="NOTHING", x=int(x), y=int(y))
    yield 0.2
    event(type="LEFTMOUSE", value="PRESS", x=int(x), y=int(y))
    yield 0.1
    event(type="LEFTMOUSE", value="RELEASE", x=int(x), y=int(y))
    yield 0.4


def key(kind: str, **modifiers: bool) -> Script:
    """Press and release a key over the middle of the 3D viewport."""
    event = bpy.context.window_manager.windows[0].event_simulate
    view = region(area(), "WINDOW")
    x, y = view.x + view.width // 3, view.y + view.height // 2
    event(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
    yield 0.2
    for value in ("PRESS", "RELEASE"):
        event(type=kind, value=value, x=x, y=y, **modifiers)
        yield 0.3


def scroll(of: bpy.types.Region, steps: int) -> Script:
    """Turn the wheel over a region: down for positive steps."""
    event = bpy.context.window_manager.windows[0].event_simulate
    x, y = of.x + of.width // 2, of.y + of.height // 2
    event(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
    yield 0.3
    for _ in range(abs(steps)):
        kind = "WHEELDOWNMOUSE" if steps > 0 else "WHEELUPMOUSE"
        event(type=kind, value="PRESS", x=x, y=y)
        yield 0.1
    yield 1.0


def press(kind: str) -> Script:
    """Press and release a key for the field that is being edited."""
    event = bpy.context.window_manager.windows[0].event_simulate
    for value in ("PRESS", "RELEASE"):
        event(type=kind, value=value, x=10, y=10)
        yield 0.3


def type_text(text: str) -> Script:
    """Write over what stands in the field that is being edited."""
    event = bpy.context.window_manager.windows[0].event_simulate
    words = {"x": 10, "y": 10}
    event(type="A", value="PRESS", ctrl=True, **words)
    event(type="A", value="RELEASE", ctrl=True, **words)
    yield 0.2
    for letter in text:
        kind = "SPACE" if letter == " " else letter.upper()
        event(type=kind, value="PRESS", unicode=letter, **words)
        event(type=kind, value="RELEASE", **words)
        yield 0.03


def show_tab(of: bpy.types.Area, name: str) -> Script:
    """Open the sidebar and choose a tab, which works once the sidebar has been drawn."""
    of.spaces.active.show_region_ui = True
    yield 1.0
    region(of, "UI").active_panel_category = name
    of.tag_redraw()
    yield 1.0


def screenshot(path: Path) -> None:
    """The whole X screen: Blender's own screenshot is black under software GL in 4.3."""
    subprocess.run(["import", "-window", "root", str(path)], check=True, timeout=60)


def _quit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # wm.quit_blender() has no exit code, and may ask to save
