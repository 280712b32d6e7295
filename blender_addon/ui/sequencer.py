"""The tab "Marey" in the sequencer's sidebar: movie strips, what they show, and their capture.

Drawing computes ranges out of the strips' numbers and reads no file; a movie that has not been
opened yet is opened soon, by a timer.
"""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from .. import protocol
from ..engine_link import session
from ..engine_link.jobs import JobKind
from ..engine_link.people import FoundPeople, timeline_span
from ..engine_link.session import EngineState
from ..scene import movie_strips
from ..scene.movie_strips import FoundStrip, MovieRange, StripError
from . import panels, panels_jobs, person_previews
from .capture_properties import pick_of
from .capture_request import target_armature
from .jobs_layout import draw_latest, progress_text
from .text_layout import draw_text, width_of

_SHOWN_STRIPS = 6
_SOON_S = 0.05
_PICTURE_SCALE = 5.0  # of a person, in rows
_PICTURE_WIDTH = 125.0  # pixels that a person's picture and button want

_asked: set[tuple[str, str]] = set()  # strips whose movie was not known when they were drawn


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
        row = layout.row(align=True)
        row.operator("motion.find_people", icon="VIEWZOOM")
        row.operator("motion.pick_in_preview", icon="EYEDROPPER")
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
        _draw_models(column, settings)
        column.prop(context.scene.motion, "seed")
        column.prop(settings, "camera")
        if session.state is EngineState.READY and not _takers():
            draw_text(layout, context, "No model here accepts video", icon="INFO")
        row = layout.row()
        row.scale_y = 1.5
        row.operator("motion.capture_strips", icon="PLAY")
        draw_latest(layout, context)
        layout.operator("motion.match_strip_range", icon="PREVIEW_RANGE")


class MOTION_PT_sequencer_jobs(_SequencerPanel, bpy.types.Panel):
    """What has been asked for, the latest first."""

    bl_label = "Jobs"
    bl_order = 3

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return len(session.jobs) > 0

    draw = panels_jobs.MOTION_PT_jobs.draw


class MOTION_MT_video_models(bpy.types.Menu):
    """Models that make poses from video."""

    bl_label = "Model"

    def draw(self, context: bpy.types.Context) -> None:
        _draw_menu(self.layout, "lifter", [one for one in _takers() if not one.refines])


class MOTION_MT_video_priors(bpy.types.Menu):
    """Models that better what another has made."""

    bl_label = "Refine With"

    def draw(self, context: bpy.types.Context) -> None:
        _draw_menu(self.layout, "prior", [one for one in _takers() if one.refines])


class MOTION_OT_choose_video_model(bpy.types.Operator):
    """Choose a model for video"""

    bl_idname = "motion.choose_video_model"
    bl_label = "Choose Model"
    bl_description = "Use this model for captures from now on"
    bl_options = {"REGISTER", "UNDO"}

    role: bpy.props.EnumProperty(
        items=(("lifter", "Model", ""), ("prior", "Refine With", "")), options={"HIDDEN"}
    )
    model: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        setattr(context.scene.motion_capture, self.role, self.model)
        return {"FINISHED"}


def stop() -> None:
    """End what is under way, when the add-on is switched off."""
    _asked.clear()
    person_previews.clear()
    if bpy.app.timers.is_registered(_measure_asked):
        bpy.app.timers.unregister(_measure_asked)


def _takers() -> list[protocol.ModelEntry]:
    """The models that accept video."""
    return [model for model in session.models() if "video" in model.accepts]


def _draw_models(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Who makes the poses, and who betters them, where there is a choice."""
    takers = _takers()
    roles = (
        ("lifter", "Model", "MOTION_MT_video_models", iface_("Default"), False),
        ("prior", "Refine With", "MOTION_MT_video_priors", iface_("Nothing"), True),
    )
    for name, label, menu, otherwise, refines in roles:
        chosen = getattr(settings, name)
        fitting = [one.name for one in takers if one.refines is refines]
        if not chosen and len(fitting) < (1 if refines else 2):
            continue
        split = layout.split(factor=0.4)
        words = split.row()
        words.alignment = "RIGHT"
        words.label(text=label)
        row = split.row()
        row.alert = bool(chosen and takers and chosen not in fitting)
        row.menu(menu, text=chosen or otherwise)
    if settings.prior:
        layout.prop(settings, "prompt")


def _draw_menu(layout: bpy.types.UILayout, role: str, models: list[protocol.ModelEntry]) -> None:
    words = iface_("Default") if role == "lifter" else iface_("Nothing")
    entry = layout.operator("motion.choose_video_model", text=words, translate=False)
    entry.role, entry.model = role, ""
    for model in models:
        text = f"{model.name}: {panels.short_licence(model.licence)}"
        entry = layout.operator("motion.choose_video_model", text=text, translate=False)
        entry.role, entry.model = role, model.name
    if not session.models():
        layout.label(text="More are listed once the engine runs")


def _draw_strip(layout: bpy.types.UILayout, context: bpy.types.Context, found: FoundStrip) -> None:
    layout.label(text=found.strip.name, icon="FILE_MOVIE")
    if not movie_strips.is_measured(found):
        layout.label(text="The movie is being read")
        _ask(found)
        return
    try:
        shown = movie_strips.movie_range(found)
    except StripError as error:
        draw_text(layout, context, str(error), icon="ERROR")
        return
    fps = found.scene.render.fps / found.scene.render.fps_base
    column = layout.column(align=True)
    column.label(
        text=f"Movie frames {shown.first_frame} to {shown.last_frame} ({shown.num_frames})"
    )
    seconds = shown.num_shown / fps
    column.label(text=f"Timeline {shown.start} to {shown.end}, {seconds:.2f} s")
    if abs(shown.movie_fps - fps) > 0.005:
        column.label(text=f"Movie {shown.movie_fps:g} fps, scene {fps:g} fps")
    for text in shown.notes:
        draw_text(layout, context, text, icon="INFO")
    _draw_people(layout, context, shown)


def _draw_people(layout: bpy.types.UILayout, context: bpy.types.Context, shown: MovieRange) -> None:
    """Who was found in a strip, each with a button; who is picked."""
    settings = context.scene.motion_capture
    looking = (job for job in session.jobs.active if job.kind is JobKind.PEOPLE)
    job = next((one for one in looking if one.prompt == shown.strip_name), None)
    if job is not None:
        row = layout.row(align=True)
        row.progress(factor=job.progress, type="BAR", text=progress_text(job))
        row.operator("motion.cancel", text="", icon="X").job_id = job.job_id
    found = session.people.get(shown.strip_name)
    pick = pick_of(settings, shown.strip_name, str(shown.path))
    numbers = found.seen_in(shown) if found is not None else []
    if found is not None and not found.people:
        draw_text(layout, context, "Nobody was found: needs a person who is not too small")
    elif found is not None and not found.covers(shown):
        draw_text(layout, context, "The strip shows more now: press Find People again", icon="INFO")
    if found is not None and numbers:
        width = max(1, int((width_of(context) - 40) / _PICTURE_WIDTH))
        grid = layout.grid_flow(
            row_major=True, columns=width, even_columns=True, even_rows=True, align=True
        )
        for index in numbers:
            _draw_person(grid.column(align=True), found, index, shown, pick)
    if settings.follow != "PICKED":
        return
    if pick is None or not shown.first_frame <= pick.frame <= shown.last_frame:
        draw_text(layout, context, "Nobody is picked in this strip yet", icon="ERROR")
    elif not any(_is_picked(found, index, pick) for index in numbers):
        words = iface_("Picked: who is {:.0%} from the left and {:.0%} from the top in frame {}")
        at = round(shown.zero + pick.frame / shown.step)
        draw_text(layout, context, words.format(pick.x, pick.y, at), icon="EYEDROPPER")


def _draw_person(
    layout: bpy.types.UILayout,
    found: FoundPeople,
    index: int,
    shown: MovieRange,
    pick: bpy.types.PropertyGroup | None,
) -> None:
    person = found.people[index]
    layout.template_icon(icon_value=person_previews.icon_of(found, index), scale=_PICTURE_SCALE)
    first, last = timeline_span(person, shown)
    words = iface_("{} to {}, {:.0%}").format(first, last, person.share)
    button = layout.operator(
        "motion.pick_person",
        text=words,
        depress=pick is not None and _is_picked(found, index, pick),
        translate=False,
    )
    button.strip, button.frame = shown.strip_name, person.click_frame
    button.x, button.y = person.click_x, person.click_y


def _is_picked(found: FoundPeople | None, index: int, pick: bpy.types.PropertyGroup) -> bool:
    if found is None:
        return False
    person = found.people[index]
    apart = abs(person.click_x - pick.x) + abs(person.click_y - pick.y)
    return person.click_frame == pick.frame and apart < 1e-4


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
