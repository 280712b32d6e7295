"""Registers the add-on's classes, properties and handlers, and takes them out again in reverse."""

# bpy's types are generated and often None-able, as in scene/ and ui/.
# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportUnnecessaryComparison=false
# pyright: reportUnknownParameterType=false, reportReturnType=false

from __future__ import annotations

import atexit

import bpy
from bpy.app.handlers import persistent

from .engine_link import session
from .scene import pump
from .ui import operators, panels, preferences, properties

SHUTDOWN_WAIT_S = 1.0  # for the engine to end by itself when the add-on does

CLASSES: tuple[type, ...] = (
    preferences.MOTION_AP_preferences,
    properties.MOTION_PG_settings,
    operators.MOTION_OT_engine_start,
    operators.MOTION_OT_engine_stop,
    operators.MOTION_OT_generate,
    operators.MOTION_OT_cancel,
    operators.MOTION_OT_clear,
    operators.MOTION_OT_new_seed,
    operators.MOTION_OT_choose_model,
    operators.MOTION_OT_add_mannequin,
    panels.MOTION_MT_models,
    panels.MOTION_PT_engine,
    panels.MOTION_PT_request,
    panels.MOTION_PT_quality,
    panels.MOTION_PT_jobs,
)


def register() -> None:
    """Switch the add-on on."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.motion = bpy.props.PointerProperty(type=properties.MOTION_PG_settings)
    bpy.types.VIEW3D_MT_armature_add.append(_draw_add_menu)
    bpy.app.handlers.load_pre.append(_before_load)
    # Classes left registered at exit hang bpy 4.5 and crash 4.2, in a script as in a test.
    atexit.register(_unregister_at_exit)


def unregister() -> None:
    """Switch the add-on off. The engine that it started ends."""
    atexit.unregister(_unregister_at_exit)
    pump.stop()
    session.reset(wait_s=SHUTDOWN_WAIT_S)
    bpy.app.handlers.load_pre.remove(_before_load)
    bpy.types.VIEW3D_MT_armature_add.remove(_draw_add_menu)
    del bpy.types.Scene.motion
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)


def _unregister_at_exit() -> None:
    if hasattr(bpy.types.Scene, "motion"):
        unregister()


@persistent
def _before_load(*_: object) -> None:
    """Jobs belong to the file that they were started in: end them, and tell the engine."""
    pump.cancel_all("Another file was opened")


def _draw_add_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    menu.layout.operator("motion.add_mannequin", icon="OUTLINER_OB_ARMATURE", text="Mannequin")
