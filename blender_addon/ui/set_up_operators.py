"""Operators that lead to an engine: look, show the plan, install after a yes, cancel, check.

Each returns at once; a timer moves the work on. In background Blender, where no timer runs, they
work until it is done instead.
"""

from __future__ import annotations

import logging
import time

import bpy

from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.devices import EngineCheck
from ..engine_link.engine_set_up import SetUpPhase
from ..engine_link.session import EngineState
from ..engine_link.set_up_plan import SetUpProblem
from ..scene import pump
from . import preferences

log = logging.getLogger(__name__)

INTERVAL_S = 0.2
DIALOG_WIDTH = 560


class MOTION_OT_set_up_engine(bpy.types.Operator):
    """Set up the engine"""

    bl_idname = "motion.set_up_engine"
    bl_label = "Set Up Engine"
    bl_description = (
        "Look what this computer has and show what would be installed, how large it is and where "
        "it goes. Nothing is downloaded before you agree"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.set_up.is_busy:
            cls.poll_message_set("The set-up is at work")
            return False
        if session.state not in (EngineState.STOPPED, EngineState.LOST):
            cls.poll_message_set("Stop the engine first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.set_up.look(preferences.wishes(context))
        _work()
        if session.set_up.phase is SetUpPhase.FAILED:
            self.report({"ERROR"}, session.set_up.error)
            return {"CANCELLED"}
        return {"FINISHED"}


class MOTION_OT_install_engine(bpy.types.Operator):
    """Install the engine as planned"""

    bl_idname = "motion.install_engine"
    bl_label = "Install Engine"
    bl_description = "Show the plan, and install the engine once you agree"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.set_up.phase is SetUpPhase.PLANNED:
            return True
        cls.poll_message_set("Press Set Up Engine first")
        return False

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(
            self, width=DIALOG_WIDTH, title="Install the Engine?", confirm_text="Install"
        )

    def draw(self, context: bpy.types.Context) -> None:
        plan = session.set_up.plan
        column = self.layout.column(align=True)
        for line in plan.lines() if plan is not None else ():
            column.label(text=line)
        self.layout.label(text="You can go on working. The engine starts when it is ready")

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            session.set_up.install()
        except SetUpProblem as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        _work()
        if session.set_up.phase is SetUpPhase.FAILED:
            self.report({"ERROR"}, session.set_up.error)
            return {"CANCELLED"}
        return {"FINISHED"}


class MOTION_OT_cancel_set_up(bpy.types.Operator):
    """Cancel the set-up"""

    bl_idname = "motion.cancel_set_up"
    bl_label = "Cancel Set-Up"
    bl_description = "Stop setting up. The next set-up begins anew"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.set_up.is_busy

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.set_up.cancel()
        preferences.refresh_view()
        return {"FINISHED"}


class MOTION_OT_check_engine(bpy.types.Operator):
    """Check the chosen Python"""

    bl_idname = "motion.check_engine"
    bl_label = "Check This Python"
    bl_description = "Ask the chosen Python whether it has an engine, and which devices that finds"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        check = session.engine_check
        return check is None or check.is_done

    def execute(self, context: bpy.types.Context) -> set[str]:
        if session.engine_check is not None:
            session.engine_check.close()
        try:
            command = preferences.engine_command(context)
        except EngineLinkError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        session.engine_check = EngineCheck(command.python, command.engine_root)
        _work()
        return {"FINISHED"}


class MOTION_OT_show_preferences(bpy.types.Operator):
    """Show Marey's preferences"""

    bl_idname = "motion.show_preferences"
    bl_label = "Marey's Preferences"
    bl_description = "Open the preferences at Marey: engine, devices, models"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if preferences.get_preferences(context) is None:
            self.report({"WARNING"}, "Marey runs without preferences here")
            return {"CANCELLED"}
        bpy.ops.preferences.addon_show(module=preferences.ADDON_PACKAGE)
        return {"FINISHED"}


def stop() -> None:
    """End the timer. What it drove is ended by session.reset()."""
    for timer in (_poll, _start_engine, preferences.refresh_view):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)


def _work() -> None:
    """Let the timer move the work on; in background Blender do it here and now."""
    if not bpy.app.background:
        if not bpy.app.timers.is_registered(_poll):
            bpy.app.timers.register(_poll, first_interval=0.0, persistent=True)
        return
    told = ""
    while _poll() is not None:
        if session.set_up.text != told:
            told = session.set_up.text
            log.info("Engine set-up, %.0f %%: %s", 100 * session.set_up.share, told)
        time.sleep(INTERVAL_S)


def _poll() -> float | None:
    """Move on; the seconds until the next call, None when nothing is left to do."""
    set_up, check = session.set_up, session.engine_check
    before = set_up.phase
    is_busy = set_up.poll()
    if check is not None:
        is_busy = not check.poll() or is_busy
    if set_up.phase is not before:
        _changed(set_up.phase)
    elif is_busy:
        _redraw()
    if not is_busy:
        preferences.refresh_view()
    return INTERVAL_S if is_busy else None


def _changed(phase: SetUpPhase) -> None:
    if phase is SetUpPhase.PLANNED and not bpy.app.background:
        _ask()
    elif phase is SetUpPhase.DONE and not bpy.app.background:
        # In a call of its own: starting a program takes half of what one call may.
        bpy.app.timers.register(_start_engine, first_interval=INTERVAL_S)


def _start_engine() -> None:
    """Start the engine that has just been set up: a timer that runs once."""
    try:
        preferences.open_engine()
    except EngineLinkError as error:
        log.error("The engine is set up but could not be started: %s", error)
    pump.start()


def _ask() -> None:
    """Open the dialog with the plan, in the window that has the preferences if there is one.

    Where it can't be opened the preferences have a button for it.
    """
    windows = list(bpy.context.window_manager.windows)
    places = [(one, area) for one in windows for area in one.screen.areas]
    places.sort(key=lambda place: place[1].type != "PREFERENCES")
    if not places:
        return
    window, area = places[0]
    try:
        with bpy.context.temp_override(window=window, area=area):
            bpy.ops.motion.install_engine("INVOKE_DEFAULT")
    except RuntimeError as error:
        log.info("The dialog could not be opened: %s", error)


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in {"PREFERENCES", "VIEW_3D"}:
                area.tag_redraw()
