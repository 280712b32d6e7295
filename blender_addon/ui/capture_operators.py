"""Operators of capture: the motion of the selected strips, and the scene's range."""

from __future__ import annotations

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.session import EngineState
from ..rig.bone_match import RigError
from ..scene import movie_strips, target
from ..scene.action_writer import check_writable
from ..scene.movie_strips import StripError
from .capture_request import submit_capture, target_armature, usable_ranges


class MOTION_OT_capture_strips(bpy.types.Operator):
    """Recover motion from movie strips"""

    bl_idname = "motion.capture_strips"
    bl_label = "Capture Motion"
    bl_description = (
        "Recover the motion of a person in each selected movie strip and key it on the target, "
        "as a new action that lies where the strip does"
    )
    bl_options = {"REGISTER"}  # no UNDO: nothing in the file has changed yet

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.state is not EngineState.READY:
            cls.poll_message_set("Start the engine first")
            return False
        if not movie_strips.selected_strips(movie_strips.sequencer_scene(context)):
            cls.poll_message_set("Select movie strips")
            return False
        if target_armature(context) is None:
            cls.poll_message_set("Choose the armature that gets the motion")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = target_armature(context)
        num_sent = 0
        try:
            check_writable(armature)
            target.find_match(armature)  # said now, not after a minute of computing
            ranges, problems = usable_ranges(context)
            for found in ranges:
                try:
                    submit_capture(context, armature, found, is_alone=len(ranges) == 1)
                    num_sent += 1
                except StripError as error:
                    problems.append(str(error))
        except (RigError, protocol.ProtocolError, EngineLinkError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for problem in problems:
            self.report({"WARNING" if num_sent else "ERROR"}, problem)
        return {"FINISHED" if num_sent else "CANCELLED"}


class MOTION_OT_match_strip_range(bpy.types.Operator):
    """Match the scene's range"""

    bl_idname = "motion.match_strip_range"
    bl_label = "Match Scene Range to Strip"
    bl_description = "Let the scene begin and end with the selected movie strips"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if movie_strips.selected_strips(movie_strips.sequencer_scene(context)):
            return True
        cls.poll_message_set("Select movie strips")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        ranges, problems = usable_ranges(context)
        for problem in problems:
            self.report({"WARNING" if ranges else "ERROR"}, problem)
        if not ranges:
            return {"CANCELLED"}
        start, end = min(one.start for one in ranges), max(one.end for one in ranges)
        if end < 0:
            self.report({"ERROR"}, f"The strips end at frame {end}; a scene begins at 0 or later")
            return {"CANCELLED"}
        scene = context.scene
        scene.frame_end = end  # each end pushes the other along
        scene.frame_start = max(0, start)
        scene.frame_end = end
        self.report({"INFO"}, f"The scene runs from {scene.frame_start} to {scene.frame_end}")
        return {"FINISHED"}
