"""Teach a Move: the panel in the sequencer's tab that teaches a model what captioned strips show.

The work is a process of the engine's Python (engine_link.teaching); a timer looks how far it is.
Drawing reads what is in memory only.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import bpy

from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.data_folders import user_data_folder, user_models_folder
from ..engine_link.teaching import (
    LEAST_STRIPS,
    Lesson,
    TaughtClip,
    TeachingPhase,
    list_lessons,
    remove_lesson,
    write_lesson,
)
from ..scene import movie_strips
from ..scene.movie_strips import StripError
from . import preferences
from .text_layout import draw_text

log = logging.getLogger(__name__)

INTERVAL_S = 0.5
_SHOWN_STRIPS = 16

_lessons: list[Lesson] | None = None  # unfinished ones; None: not looked for yet


class MOTION_PG_teach(bpy.types.PropertyGroup):
    """scene.motion_teach"""

    name: bpy.props.StringProperty(
        name="Model", description="What the new model is called in the list of models"
    )
    num_steps: bpy.props.IntProperty(
        name="Steps",
        description="Steps of learning. More follow the strips more closely and take longer",
        default=500,
        min=20,
        max=20_000,
        soft_max=2_000,
    )
    everybody: bpy.props.BoolProperty(
        name="Everybody",
        description="Learn from everybody in the picture, not from the largest person alone",
    )
    replace: bpy.props.BoolProperty(
        name="Replace", description="Replace a model or a lesson of the same name"
    )


class MOTION_PT_teach(bpy.types.Panel):
    """Captions of the selected strips, and how far a lesson is"""

    bl_label = "Teach a Move"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Marey"
    bl_order = 5
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        teaching = session.teaching
        if teaching.is_running:
            _draw_running(layout)
            return
        _draw_strips(layout, context)
        settings = context.scene.motion_teach
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        for name in ("name", "num_steps", "everybody", "replace"):
            column.prop(settings, name)
        layout.operator("motion.teach_strips", icon="PLAY")
        if teaching.phase is TeachingPhase.DONE:
            name = teaching.lesson.name if teaching.lesson else ""
            draw_text(layout, context, f"{name} is in the list of models", icon="CHECKMARK")
        elif teaching.phase is TeachingPhase.FAILED:
            draw_text(layout, context, teaching.error, icon="ERROR")
        _draw_lessons(layout, context)


class MOTION_OT_teach_strips(bpy.types.Operator):
    """Teach a model"""

    bl_idname = "motion.teach_strips"
    bl_label = "Teach"
    bl_description = (
        "Teach a copy of the model that ships what the selected strips show, by their captions. It "
        "takes minutes and runs in the background; the new model then is in the list of models"
    )
    bl_options = {"REGISTER"}  # no UNDO: nothing in the file changes

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.teaching.is_running:
            cls.poll_message_set("A lesson is under way")
            return False
        captioned = [strip for strip in _selected(context) if strip.motion_caption.strip()]
        if len(captioned) < LEAST_STRIPS:
            cls.poll_message_set(
                f"Select {LEAST_STRIPS} movie strips or more, and write what is done in each"
            )
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.motion_teach
        clips, problems = taught_clips(context)
        try:
            lesson = write_lesson(
                lessons_folder(),
                settings.name.strip(),
                clips,
                user_models_folder(),
                num_steps=settings.num_steps,
                people="all" if settings.everybody else "largest",
                replace=settings.replace,
            )
            _begin(context, lesson)
        except (EngineLinkError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for problem in problems:
            self.report({"WARNING"}, problem)
        return {"FINISHED"}


class MOTION_OT_resume_lesson(bpy.types.Operator):
    """Go on with a lesson"""

    bl_idname = "motion.resume_lesson"
    bl_label = "Resume"
    bl_description = "Go on with a lesson that was stopped: what is done isn't done again"

    name: bpy.props.StringProperty(options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.teaching.is_running:
            cls.poll_message_set("A lesson is under way")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        lesson = _find(self.name)
        if lesson is None:
            self.report({"ERROR"}, f"There is no lesson {self.name} to go on with")
            return {"CANCELLED"}
        try:
            _begin(context, lesson)
        except EngineLinkError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class MOTION_OT_cancel_lesson(bpy.types.Operator):
    """Stop the lesson"""

    bl_idname = "motion.cancel_lesson"
    bl_label = "Cancel"
    bl_description = "Stop the lesson. It can be resumed, also after Blender was closed"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.teaching.is_running

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.teaching.cancel()
        look_again()
        return {"FINISHED"}


class MOTION_OT_remove_lesson(bpy.types.Operator):
    """Remove a lesson"""

    bl_idname = "motion.remove_lesson"
    bl_label = "Remove"
    bl_description = "Remove what a stopped lesson has made. Models and movies stay"

    name: bpy.props.StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        lesson = _find(self.name)
        if lesson is None or session.teaching.is_running:
            self.report({"ERROR"}, "Cancel the lesson first" if lesson else "It is gone already")
            return {"CANCELLED"}
        remove_lesson(lesson)
        look_again()
        return {"FINISHED"}


def register_properties() -> None:
    """Captions are kept with the strips, settings with the scene."""
    _strip_type().motion_caption = bpy.props.StringProperty(
        name="Caption",
        description="What the person in this strip does, as a prompt would say it",
        maxlen=400,
    )
    bpy.types.Scene.motion_teach = bpy.props.PointerProperty(type=MOTION_PG_teach)


def unregister_properties() -> None:
    """The reverse."""
    del bpy.types.Scene.motion_teach
    del _strip_type().motion_caption


def stop() -> None:
    """End the timers, when the add-on is switched off; session.reset() ends the lesson."""
    global _lessons
    _lessons = None
    for timer in (_poll, look_again):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)


def lessons_folder() -> Path:
    """Where lessons are."""
    return user_data_folder() / "teach"


def taught_clips(context: bpy.types.Context) -> tuple[list[TaughtClip], list[str]]:
    """What the captioned ones of the selected strips show, and why others can't be used."""
    clips: list[TaughtClip] = []
    problems: list[str] = []
    for found in movie_strips.selected_strips(movie_strips.sequencer_scene(context)):
        caption = found.strip.motion_caption.strip()
        if not caption:
            continue
        try:
            shown = movie_strips.movie_range(found)
        except StripError as error:
            problems.append(str(error))
            continue
        start = shown.first_frame / shown.movie_fps
        end = (shown.last_frame + 1) / shown.movie_fps
        clips.append(TaughtClip(path=shown.path, start=start, end=end, caption=caption))
    return clips, problems


def look_again() -> None:
    """Look for unfinished lessons on the disk. Also a timer that runs once."""
    global _lessons
    _lessons = list_lessons(lessons_folder())
    _redraw()


def _begin(context: bpy.types.Context, lesson: Lesson) -> None:
    session.teaching.start(preferences.engine_command(context), lesson)
    if not bpy.app.background:
        if not bpy.app.timers.is_registered(_poll):
            bpy.app.timers.register(_poll, first_interval=INTERVAL_S, persistent=True)
        return
    while _poll() is not None:  # background Blender fires no timers
        time.sleep(INTERVAL_S)


def _poll() -> float | None:
    """See how far the lesson is; the seconds until the next call, None when it has ended."""
    is_running = session.teaching.poll()
    if is_running:
        _redraw()
        return INTERVAL_S
    if session.teaching.phase is TeachingPhase.DONE and session.client is not None:
        try:
            session.client.refresh()  # the engine lists its models anew
        except EngineLinkError as error:
            log.info("The engine lists the new model when it is started: %s", error)
    look_again()
    preferences.refresh_view()
    return None


def _draw_running(layout: bpy.types.UILayout) -> None:
    teaching = session.teaching
    lesson = teaching.lesson
    if lesson is not None:
        layout.label(text=f"{lesson.name}, {lesson.num_clips} clips", translate=False)
    layout.progress(factor=teaching.share, type="BAR", text=f"{teaching.share:.0%}")
    layout.label(text=teaching.text)
    layout.operator("motion.cancel_lesson", icon="X")


def _draw_strips(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    strips = _selected(context)
    if not strips:
        layout.label(text="Select movie strips", icon="INFO")
    for strip in strips[:_SHOWN_STRIPS]:
        column = layout.column(align=True)
        column.label(text=strip.name, icon="FILE_MOVIE", translate=False)
        column.prop(strip, "motion_caption", text="", placeholder="a person does a cartwheel")
    if len(strips) > _SHOWN_STRIPS:
        layout.label(text=f"and {len(strips) - _SHOWN_STRIPS} more")


def _draw_lessons(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    if _lessons is None:
        if not bpy.app.timers.is_registered(look_again):
            bpy.app.timers.register(look_again, first_interval=0.0)
        return
    for lesson in _lessons:
        box = layout.box()
        box.label(text=f"{lesson.name} isn't finished", icon="PAUSE")
        row = box.row(align=True)
        row.operator("motion.resume_lesson", icon="PLAY").name = lesson.name
        row.operator("motion.remove_lesson", text="", icon="TRASH").name = lesson.name


def _selected(context: bpy.types.Context) -> list[bpy.types.Strip]:
    """The selected movie strips."""
    found = movie_strips.selected_strips(movie_strips.sequencer_scene(context))
    return [one.strip for one in found if one.strip.type == "MOVIE"]


def _find(name: str) -> Lesson | None:
    return next((one for one in list_lessons(lessons_folder()) if one.name == name), None)


def _strip_type() -> type:
    """The class of all strips, which was renamed in 4.4."""
    return getattr(bpy.types, "Strip", None) or bpy.types.Sequence


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                area.tag_redraw()
