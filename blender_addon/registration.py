"""Registers the add-on's classes, properties and handlers, and takes them out again in reverse."""

# bpy's types are generated and often None-able, as in scene/ and ui/.
# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportUnnecessaryComparison=false
# pyright: reportUnknownParameterType=false, reportReturnType=false

from __future__ import annotations

import atexit

import bpy
from bpy.app.handlers import persistent

from .batch import cli
from .engine_link import session
from .scene import pump, saved_mappings, target
from .ui import (
    again_operators,
    capture_operators,
    capture_properties,
    help_operators,
    job_operators,
    operators,
    overlay_operators,
    panels,
    panels_capture,
    panels_jobs,
    panels_takes,
    panels_target,
    people_operators,
    preferences,
    prompt_operators,
    properties,
    retarget_operators,
    sequencer,
    set_up_operators,
    take_operators,
    target_operators,
    target_properties,
    teach,
)

SHUTDOWN_WAIT_S = 1.0  # for the engine to end by itself when the add-on does

CLASSES: tuple[type, ...] = (
    preferences.MOTION_AP_preferences,
    properties.MOTION_PG_later_prompt,
    properties.MOTION_PG_settings,
    target_properties.MOTION_PG_picks,
    target_properties.MOTION_PG_target,
    target_properties.MOTION_PG_retarget,
    operators.MOTION_OT_engine_start,
    operators.MOTION_OT_engine_stop,
    operators.MOTION_OT_generate,
    job_operators.MOTION_OT_cancel,
    job_operators.MOTION_OT_retry,
    job_operators.MOTION_OT_copy_details,
    job_operators.MOTION_OT_clear,
    operators.MOTION_OT_new_seed,
    operators.MOTION_OT_choose_model,
    operators.MOTION_OT_add_mannequin,
    prompt_operators.MOTION_OT_use_prompt,
    prompt_operators.MOTION_OT_clear_history,
    prompt_operators.MOTION_OT_add_prompt,
    prompt_operators.MOTION_OT_remove_prompt,
    take_operators.MOTION_OT_show_candidate,
    take_operators.MOTION_OT_next_candidate,
    take_operators.MOTION_OT_accept,
    take_operators.MOTION_OT_reject,
    take_operators.MOTION_OT_remove_lost,
    take_operators.MOTION_OT_keep_seed,
    again_operators.MOTION_OT_regenerate,
    again_operators.MOTION_OT_vary,
    again_operators.MOTION_OT_edit_prompt,
    target_operators.MOTION_OT_recognise,
    target_operators.MOTION_OT_own_settings,
    target_operators.MOTION_OT_pick_active_bone,
    target_operators.MOTION_OT_reset_picks,
    target_operators.MOTION_OT_choose_mapping,
    target_operators.MOTION_OT_load_mapping,
    target_operators.MOTION_OT_save_mapping,
    retarget_operators.MOTION_OT_retarget_armature,
    retarget_operators.MOTION_OT_retarget_file,
    set_up_operators.MOTION_OT_set_up_engine,
    set_up_operators.MOTION_OT_install_engine,
    set_up_operators.MOTION_OT_cancel_set_up,
    set_up_operators.MOTION_OT_check_engine,
    set_up_operators.MOTION_OT_show_preferences,
    help_operators.MOTION_OT_add_model,
    help_operators.MOTION_OT_open_log,
    help_operators.MOTION_OT_copy_report,
    panels.MOTION_MT_models,
    prompt_operators.MOTION_MT_prompts,
    panels_target.MOTION_MT_mappings,
    panels.MOTION_PT_engine,
    panels.MOTION_PT_request,
    panels_takes.MOTION_PT_candidates,
    panels_target.MOTION_PT_target,
    panels_target.MOTION_PT_target_bones,
    panels_target.MOTION_PT_target_root,
    panels_target.MOTION_PT_target_feet,
    panels.MOTION_PT_quality,
    panels_takes.MOTION_PT_again,
    panels_jobs.MOTION_PT_jobs,
    panels_target.MOTION_PT_report,
    panels_target.MOTION_PT_retarget,
    capture_properties.MOTION_PG_pick,
    capture_properties.MOTION_PG_capture,
    capture_operators.MOTION_OT_capture_strips,
    capture_operators.MOTION_OT_match_strip_range,
    people_operators.MOTION_OT_find_people,
    people_operators.MOTION_OT_pick_person,
    people_operators.MOTION_OT_pick_in_preview,
    overlay_operators.MOTION_OT_overlay_movie,
    overlay_operators.MOTION_OT_show_overlay,
    overlay_operators.MOTION_OT_look_through,
    sequencer.MOTION_OT_choose_video_model,
    sequencer.MOTION_MT_video_models,
    sequencer.MOTION_MT_video_priors,
    sequencer.MOTION_PT_sequencer_engine,
    sequencer.MOTION_PT_sequencer_capture,
    panels_capture.MOTION_PT_sequencer_result,
    sequencer.MOTION_PT_sequencer_jobs,
    teach.MOTION_PG_teach,
    teach.MOTION_OT_teach_strips,
    teach.MOTION_OT_resume_lesson,
    teach.MOTION_OT_cancel_lesson,
    teach.MOTION_OT_remove_lesson,
    teach.MOTION_PT_teach,
)


def register() -> None:
    """Switch the add-on on."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.motion = bpy.props.PointerProperty(type=properties.MOTION_PG_settings)
    bpy.types.Scene.motion_retarget = bpy.props.PointerProperty(
        type=target_properties.MOTION_PG_retarget
    )
    bpy.types.Object.motion_target = bpy.props.PointerProperty(
        type=target_properties.MOTION_PG_target
    )
    # A library override can't hold a pointer's properties in Blender 5.0 but can insert items.
    bpy.types.Object.motion_target_own = bpy.props.CollectionProperty(
        type=target_properties.MOTION_PG_target, override={"LIBRARY_OVERRIDABLE", "USE_INSERTION"}
    )
    bpy.types.Scene.motion_capture = bpy.props.PointerProperty(
        type=capture_properties.MOTION_PG_capture
    )
    teach.register_properties()
    saved_mappings.refresh()
    bpy.types.VIEW3D_MT_armature_add.append(_draw_add_menu)
    bpy.app.handlers.load_pre.append(_before_load)
    bpy.app.handlers.undo_post.append(_after_undo)
    bpy.app.handlers.redo_post.append(_after_undo)
    cli.register()
    # Classes left registered at exit hang bpy 4.5 and crash 4.2, in a script as in a test.
    atexit.register(_unregister_at_exit)


def unregister() -> None:
    """Switch the add-on off. The engine that it started ends."""
    atexit.unregister(_unregister_at_exit)
    pump.stop()
    target.stop()
    sequencer.stop()
    teach.stop()
    set_up_operators.stop()
    session.reset(wait_s=SHUTDOWN_WAIT_S)
    cli.unregister()
    bpy.app.handlers.redo_post.remove(_after_undo)
    bpy.app.handlers.undo_post.remove(_after_undo)
    bpy.app.handlers.load_pre.remove(_before_load)
    bpy.types.VIEW3D_MT_armature_add.remove(_draw_add_menu)
    del bpy.types.Object.motion_target_own
    del bpy.types.Object.motion_target
    teach.unregister_properties()
    del bpy.types.Scene.motion_capture
    del bpy.types.Scene.motion_retarget
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
    session.people.clear()


@persistent
def _after_undo(*_: object) -> None:
    """Candidates may have come or gone, and their panel with them."""
    pump.redraw_soon()


def _draw_add_menu(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    menu.layout.operator("motion.add_mannequin", icon="OUTLINER_OB_ARMATURE", text="Mannequin")
