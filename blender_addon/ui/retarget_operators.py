"""Operators that bring motion from another armature, or from a file, onto the active armature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bpy
from bpy_extras.io_utils import ImportHelper

from ..rig.armature_motion import SourceError
from ..rig.bone_match import RigError
from ..scene.armature_source import action_frames
from ..scene.retarget_source import Retargeted, retarget_armature, retarget_file
from .target_operators import armature_is_editable


class MOTION_OT_retarget_armature(bpy.types.Operator):
    """Motion from another armature"""

    bl_idname = "motion.retarget_armature"
    bl_label = "Retarget from Armature"
    bl_description = (
        "Give the active armature the motion of the source, as a new action. "
        "The source and all other actions stay as they are"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not armature_is_editable(cls, context.object):
            return False
        source = context.scene.motion_retarget.source
        if source is None:
            cls.poll_message_set("Choose the animated armature that the motion comes from")
            return False
        if source == context.object:
            cls.poll_message_set("Source and target are the same armature: choose another source")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.motion_retarget
        manager = context.window_manager
        frames = chosen_frames(context.scene)
        manager.progress_begin(0, max(len(frames or ()), 1))
        try:
            done = retarget_armature(
                settings.source,
                context.object,
                frames=frames,
                start_frame=context.scene.frame_current if settings.start == "CURRENT" else None,
                report=manager.progress_update,
            )
        except (RigError, SourceError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        finally:
            manager.progress_end()
        return _finish(self, done)


class MOTION_OT_retarget_file(bpy.types.Operator, ImportHelper):
    """Motion from a BVH file"""

    bl_idname = "motion.retarget_file"
    bl_label = "Retarget from BVH"
    bl_description = (
        "Give the active armature the motion of a BVH file from the current frame on, as a new "
        "action. Nothing else is imported"
    )
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".bvh"
    filter_glob: bpy.props.StringProperty(default="*.bvh", options={"HIDDEN"})
    first_frame: bpy.props.IntProperty(
        name="First Frame",
        description="Leave out what is before this frame of the file, such as a T-pose",
        default=1,
        min=1,
    )
    on_frames: bpy.props.BoolProperty(
        name="Keys on Frames",
        description="Keys on whole frames of the scene. Off: one for each frame of the file",
        default=True,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return armature_is_editable(cls, context.object)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            done = retarget_file(
                Path(self.filepath),
                context.object,
                start_frame=context.scene.frame_current,
                first_frame=self.first_frame,
                on_frames=self.on_frames,
            )
        except (RigError, SourceError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return _finish(self, done)


def chosen_frames(scene: bpy.types.Scene) -> Sequence[int] | None:
    """The frames that the scene's settings name; None where the source has no keys."""
    settings = scene.motion_retarget
    if settings.frames == "ACTION":
        span = action_frames(settings.source)
        return range(span[0], span[1] + 1) if span is not None else None
    if settings.frames == "PREVIEW" and scene.use_preview_range:
        return range(scene.frame_preview_start, scene.frame_preview_end + 1)
    return range(scene.frame_start, scene.frame_end + 1)


def _finish(operator: bpy.types.Operator, done: Retargeted) -> set[str]:
    for note in done.notes:
        operator.report({"WARNING"}, note)
    operator.report({"INFO"}, f"Wrote the action {done.action.name}")
    return {"FINISHED"}
