"""The tab "Marey" in the sequencer's sidebar: movie strips, what they show, and their capture.

Drawing computes ranges out of the strips' numbers and reads no file; a movie that has not been
opened yet is opened soon, by a timer.
"""

from __future__ import annotations

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.jobs import Job
from ..engine_link.session import EngineState
from ..rig.bone_match import RigError
from ..scene import movie_strips, pump, target
from ..scene.action_writer import check_writable
from ..scene.movie_strips import FoundStrip, MovieRange, StripError
from . import panels, panels_jobs
from .properties import scene_fps

_SHOWN_STRIPS = 6
_SOON_S = 0.05

_asked: set[tuple[str, str]] = set()  # strips whose movie was not known when they were drawn


class MOTION_PG_capture(bpy.types.PropertyGroup):
    """scene.motion_capture"""

    armature: bpy.props.PointerProperty(
        name="Target",
        description="The armature that gets the motion. Empty: the active object",
        type=bpy.types.Object,
        poll=lambda self, candidate: candidate.type == "ARMATURE",
    )
    follow: bpy.props.EnumProperty(
        name="Follow",
        description="Whose motion it is, where the movie shows several people",
        items=(
            ("LARGEST", "Largest", "The person who is largest in the picture"),
            ("NUMBER", "By Number", "One of the people, in the order in which they appear"),
        ),
    )
    person: bpy.props.IntProperty(
        name="Person",
        description="0 is the one who appears first",
        default=0,
        min=0,
        max=1000,
        soft_max=20,
    )


class _SequencerPanel:
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Marey"


class MOTION_PT_sequencer_engine(_SequencerPanel, bpy.types.Panel):
    """State of the engine, and its button."""

    bl_label = "Engine"
    bl_order = 0

    draw = panels.MOTION_PT_engine.draw


class MOTION_PT_sequencer_capture(_SequencerPanel, bpy.types.Panel):
    """The selected movie strips, and what is to be done with them."""

    bl_label = "Motion from Movie"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        found = movie_strips.selected_strips(movie_strips.sequencer_scene(context))
        if not found:
            layout.label(text="Select movie strips", icon="INFO")
        for strip in found[:_SHOWN_STRIPS]:
            _draw_strip(layout.box(), context, strip)
        if len(found) > _SHOWN_STRIPS:
            layout.label(text=f"and {len(found) - _SHOWN_STRIPS} more")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        settings = context.scene.motion_capture
        column.prop(settings, "armature")
        if settings.armature is None and (armature := target_armature(context)) is not None:
            column.label(text=f"{armature.name}, the active object", icon="ARMATURE_DATA")
        column.prop(settings, "follow")
        if settings.follow == "NUMBER":
            column.prop(settings, "person")
        column.prop(context.scene.motion, "seed")
        if session.state is EngineState.READY and not _takers():
            panels.draw_text(layout, context, "No model here accepts video", icon="INFO")
        row = layout.row()
        row.scale_y = 1.5
        row.operator("motion.capture_strips", icon="PLAY")
        layout.operator("motion.match_strip_range", icon="PREVIEW_RANGE")


class MOTION_PT_sequencer_jobs(_SequencerPanel, bpy.types.Panel):
    """What has been asked for, the latest first."""

    bl_label = "Jobs"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return len(session.jobs) > 0

    draw = panels_jobs.MOTION_PT_jobs.draw


class MOTION_OT_capture_strips(bpy.types.Operator):
    """Recover motion from movie strips"""

    bl_idname = "motion.capture_strips"
    bl_label = "Capture Motion"
    bl_description = (
        "Recover the motion of a person in each selected movie strip and key it on the target, "
        "as a new action that begins where the strip does"
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
        try:
            check_writable(armature)
            target.find_match(armature)  # said now, not after a minute of computing
            ranges, problems = usable_ranges(context)
            for found in ranges:
                submit_capture(context, armature, found)
        except (RigError, protocol.ProtocolError, EngineLinkError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for problem in problems:
            self.report({"WARNING" if ranges else "ERROR"}, problem)
        return {"FINISHED" if ranges else "CANCELLED"}


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


def target_armature(context: bpy.types.Context) -> bpy.types.Object | None:
    """The armature that gets the motion: the one chosen, else the active object if it is one."""
    chosen = context.scene.motion_capture.armature
    if chosen is not None:
        return chosen
    active = context.view_layer.objects.active
    return active if active is not None and active.type == "ARMATURE" else None


def usable_ranges(context: bpy.types.Context) -> tuple[list[MovieRange], list[str]]:
    """What the selected strips show, and why others can't be used."""
    ranges: list[MovieRange] = []
    problems: list[str] = []
    for found in movie_strips.selected_strips(movie_strips.sequencer_scene(context)):
        try:
            ranges.append(movie_strips.movie_range(found))
        except StripError as error:
            problems.append(str(error))
    return ranges, problems


def submit_capture(
    context: bpy.types.Context, armature: bpy.types.Object, found: MovieRange
) -> Job:
    """Send a range of a movie to the engine as a job for an armature.

    Raises:
        EngineLinkError: no engine is connected, it takes no messages, or no video.
        ProtocolError: a setting is out of range.
    """
    client, scene, settings = session.client, context.scene, context.scene.motion_capture
    if client is None or client.welcome is None:
        raise EngineLinkError("Start the engine first")
    if not client.welcome.takes_video:
        raise EngineLinkError("This engine is too old for video: install the one of this release")
    job = Job(
        armature_name=armature.name,
        armature_uid=armature.session_uid,
        scene_uid=scene.session_uid,
        start_frame=found.start,
        prompt=found.strip_name,
        speed=found.speed,
    )
    request = protocol.VideoRequest(
        job_id=job.job_id,
        path=str(found.path),
        first_frame=found.first_frame,
        num_frames=found.num_frames,
        fps=scene_fps(scene),
        person=settings.person if settings.follow == "NUMBER" else -1,
        seed=scene.motion.seed,
    )
    client.send(request)
    job.request = request
    session.jobs.add(job)
    pump.start()
    return job


def stop() -> None:
    """End what is under way, when the add-on is switched off."""
    _asked.clear()
    if bpy.app.timers.is_registered(_measure_asked):
        bpy.app.timers.unregister(_measure_asked)


def _takers() -> list[str]:
    """The models that accept video."""
    return [model.name for model in session.models() if "video" in model.accepts]


def _draw_strip(layout: bpy.types.UILayout, context: bpy.types.Context, found: FoundStrip) -> None:
    layout.label(text=found.strip.name, icon="FILE_MOVIE")
    if not movie_strips.is_measured(found):
        layout.label(text="The movie is being read")
        _ask(found)
        return
    try:
        shown = movie_strips.movie_range(found)
    except StripError as error:
        panels.draw_text(layout, context, str(error), icon="ERROR")
        return
    fps = found.scene.render.fps / found.scene.render.fps_base
    column = layout.column(align=True)
    column.label(
        text=f"Movie frames {shown.first_frame} to {shown.last_frame} ({shown.num_frames})"
    )
    seconds = (shown.end + 1 - shown.start) / fps
    column.label(text=f"Timeline {shown.start} to {shown.end}, {seconds:.2f} s")
    if abs(shown.movie_fps - fps) > 0.005:
        column.label(text=f"Movie {shown.movie_fps:g} fps, scene {fps:g} fps")
    for text in shown.notes:
        panels.draw_text(layout, context, text, icon="INFO")


def _ask(found: FoundStrip) -> None:
    """Have the movie of a strip opened soon."""
    _asked.add((found.scene.name, found.strip.name))
    if not bpy.app.timers.is_registered(_measure_asked):
        bpy.app.timers.register(_measure_asked, first_interval=_SOON_S)


def _measure_asked() -> None:
    """A timer: open what was drawn without, then have it drawn again."""
    asked = list(_asked)
    _asked.clear()
    for scene_name, strip_name in asked:
        scene = bpy.data.scenes.get(scene_name)
        if scene is None:
            continue
        try:
            movie_strips.movie_range(movie_strips.find_strip(scene, strip_name))
        except StripError:
            continue  # drawing says so itself
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                area.tag_redraw()
