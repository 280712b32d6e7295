"""Operators that say whose motion it is: find people, pick one, or click on one in the preview."""

from __future__ import annotations

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.jobs import JobKind
from ..engine_link.session import EngineState
from ..scene import movie_strips, pump, strip_picture
from ..scene.movie_strips import StripError
from .capture_properties import set_pick
from .capture_request import submit_people, usable_ranges

_HINT = "Click on the person in the preview. Right click or Esc: leave it as it was"


class MOTION_OT_find_people(bpy.types.Operator):
    """Look who is in the selected movie strips"""

    bl_idname = "motion.find_people"
    bl_label = "Find People"
    bl_description = (
        "Look quickly through each selected strip and show who is in it, to pick whose motion is "
        "captured"
    )
    bl_options = {"REGISTER"}  # no UNDO: nothing in the file changes

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.state is not EngineState.READY:
            cls.poll_message_set("Start the engine first")
            return False
        if not movie_strips.selected_strips(movie_strips.sequencer_scene(context)):
            cls.poll_message_set("Select movie strips")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        ranges, problems = usable_ranges(context)
        under_way = {job.prompt for job in session.jobs.active if job.kind is JobKind.PEOPLE}
        try:
            for found in ranges:
                if found.strip_name not in under_way:
                    submit_people(context, found)
        except (protocol.ProtocolError, EngineLinkError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for problem in problems:
            self.report({"WARNING" if ranges else "ERROR"}, problem)
        return {"FINISHED" if ranges else "CANCELLED"}


class MOTION_OT_pick_person(bpy.types.Operator):
    """Pick a person in a strip"""

    bl_idname = "motion.pick_person"
    bl_label = "Pick"
    bl_description = "Capture this person's motion from the strip"
    bl_options = {"REGISTER", "UNDO"}

    strip: bpy.props.StringProperty(name="Strip", options={"HIDDEN", "SKIP_SAVE"})
    frame: bpy.props.IntProperty(name="Frame", min=0, options={"HIDDEN", "SKIP_SAVE"})
    x: bpy.props.FloatProperty(name="X", min=0.0, max=1.0, options={"HIDDEN", "SKIP_SAVE"})
    y: bpy.props.FloatProperty(name="Y", min=0.0, max=1.0, options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = movie_strips.sequencer_scene(context)
        try:
            found = movie_strips.movie_range(movie_strips.find_strip(scene, self.strip))
        except StripError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        place = (self.frame, self.x, self.y)
        set_pick(context.scene.motion_capture, found.strip_name, str(found.path), place)
        pump.redraw_soon()
        return {"FINISHED"}


class MOTION_OT_pick_in_preview(bpy.types.Operator):
    """Pick the person who is clicked on in the preview"""

    bl_idname = "motion.pick_in_preview"
    bl_label = "Click in Preview"
    bl_description = (
        "Pick the person on whom you click in the sequencer's preview, at the current frame"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not movie_strips.selected_strips(movie_strips.sequencer_scene(context)):
            cls.poll_message_set("Select movie strips")
            return False
        if not strip_picture.preview_regions(context.window):
            cls.poll_message_set(
                "Open a preview first: Preview, at the left of the sequencer's header"
            )
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        context.window_manager.modal_handler_add(self)
        context.window.cursor_modal_set("EYEDROPPER")
        context.workspace.status_text_set(_HINT)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type in {"ESC", "RIGHTMOUSE"}:
            self._end(context)
            return {"CANCELLED"}
        if event.type != "LEFTMOUSE" or event.value != "PRESS":
            return {"PASS_THROUGH"} if event.type in _LOOKING else {"RUNNING_MODAL"}
        self._end(context)
        try:
            self._pick(context, event.mouse_x, event.mouse_y)
        except StripError as error:
            self.report({"WARNING"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def _pick(self, context: bpy.types.Context, x: int, y: int) -> None:
        """Pick who is at a place of the window.

        Raises:
            StripError: no selected strip shows its movie there.
        """
        scene = movie_strips.sequencer_scene(context)
        view = strip_picture.view_place(context.window, x, y)
        if view is None:
            raise StripError("That was beside the preview: click on a person in it")
        strips = movie_strips.selected_strips(scene)
        picked = strip_picture.picked(strips, scene.frame_current, view)
        if picked is None:
            raise StripError("No selected strip shows its movie there at the current frame")
        found, place = picked
        set_pick(context.scene.motion_capture, found.strip_name, str(found.path), place)

    def _end(self, context: bpy.types.Context) -> None:
        context.window.cursor_modal_restore()
        context.workspace.status_text_set(None)
        for area in context.window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                area.tag_redraw()


_LOOKING = {"MIDDLEMOUSE", "WHEELUPMOUSE", "WHEELDOWNMOUSE", "TIMER", "MOUSEMOVE"}
