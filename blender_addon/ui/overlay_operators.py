"""Operators of what a capture brings besides its motion: the overlay movie, and the camera."""

from __future__ import annotations

from pathlib import Path

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.jobs import Job, JobKind, JobState
from ..engine_link.session import EngineState
from ..scene import match_camera, overlays, takes
from ..scene.movie_strips import StripError
from .capture_request import submit_overlay, target_armature


class MOTION_OT_overlay_movie(bpy.types.Operator):
    """Write a movie that shows how well the motion fits"""

    bl_idname = "motion.overlay_movie"
    bl_label = "Overlay Movie…"
    bl_description = (
        "Write a movie (.mp4) of the footage with what was seen and the motion drawn over it, to "
        "check them"
    )
    bl_options = {"REGISTER"}  # no UNDO: nothing in the file changes yet

    job_id: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})
    filepath: bpy.props.StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: bpy.props.StringProperty(default="*.mp4", options={"HIDDEN"})
    check_existing: bpy.props.BoolProperty(default=True, options={"HIDDEN"})
    add_strip: bpy.props.BoolProperty(
        name="Add as Strip",
        description="Lay the movie over its strip in the sequencer",
        default=True,
    )
    overwrite: bpy.props.BoolProperty(
        name="Overwrite",
        description="Replace the file if there is one of that name",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.state is EngineState.READY:
            return True
        cls.poll_message_set("Start the engine first")
        return False

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        job = session.jobs.get(self.job_id)
        if job is None or job.footage is None:
            self.report({"WARNING"}, "The job is not in the list any more: capture again")
            return {"CANCELLED"}
        folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path(bpy.app.tempdir)
        self.filepath = str(overlays.suggested_path(job.footage, folder))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        job = session.jobs.get(self.job_id)
        if job is None or job.footage is None or not self.filepath.strip():
            self.report({"WARNING"}, "The job is not in the list any more: capture again")
            return {"CANCELLED"}
        path = Path(bpy.path.abspath(self.filepath)).with_suffix(".mp4")
        if path.exists() and not self.overwrite:
            self.report(
                {"ERROR"}, f"{path} is there already: choose another name, or tick Overwrite"
            )
            return {"CANCELLED"}
        try:
            sent = submit_overlay(job, path, replace_file=self.overwrite)
        except (protocol.ProtocolError, EngineLinkError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        sent.adds_strip = self.add_strip
        return {"FINISHED"}


class MOTION_OT_show_overlay(bpy.types.Operator):
    """Show an overlay movie"""

    bl_idname = "motion.show_overlay"
    bl_label = "Add Overlay as Strip"
    bl_description = "Lay the movie over its strip in the sequencer"
    bl_options = {"REGISTER", "UNDO"}

    job_id: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        job = session.jobs.get(self.job_id)
        if job is None or job.footage is None or not job.overlay:
            self.report({"WARNING"}, "The job is not in the list any more")
            return {"CANCELLED"}
        try:
            overlays.add_overlay_strip(job)
        except StripError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class MOTION_OT_look_through(bpy.types.Operator):
    """Look through the camera of a capture"""

    bl_idname = "motion.look_through"
    bl_label = "Look Through Camera"
    bl_description = "Make the motion's camera the scene's, and look through it in the 3D views"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if match_camera.camera_of(_shown_action(context)) is not None:
            return True
        cls.poll_message_set("This motion has no camera: tick Matching Camera and capture again")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        placed = match_camera.camera_of(_shown_action(context))
        assert placed is not None
        context.scene.camera = placed
        for area in context.window.screen.areas if context.window is not None else ():
            if area.type == "VIEW_3D":
                match_camera.look_through(placed, context.scene, area.spaces.active)
                area.tag_redraw()
        return {"FINISHED"}


def _shown_action(context: bpy.types.Context) -> bpy.types.Action | None:
    """What the target does now."""
    armature = target_armature(context)
    animation = armature.animation_data if armature is not None else None
    return animation.action if animation is not None else None


def captured_action(context: bpy.types.Context) -> bpy.types.Action | None:
    """The action of the target that was made from a movie."""
    action = _shown_action(context)
    return action if "quality" in takes.provenance_of(action) else None


def capture_job(context: bpy.types.Context, action: bpy.types.Action) -> Job | None:
    """The job that an action came from, while it is in the list."""
    armature, strip = target_armature(context), takes.provenance_of(action).get("strip")
    return next(
        (
            job
            for job in reversed(list(session.jobs))
            if job.kind is JobKind.MOTION
            and job.state is JobState.DONE
            and isinstance(job.request, protocol.VideoRequest)
            and job.footage is not None
            and job.footage.strip_name == strip
            and armature is not None
            and job.armature_uid == armature.session_uid
        ),
        None,
    )
