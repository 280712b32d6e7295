"""The tab "Marey" in the 3D viewport's sidebar. Drawing only reads; it never works or waits."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from .. import protocol
from ..engine_link import session
from ..engine_link.engine_environment import EnvironmentState
from ..engine_link.engine_set_up import SetUpPhase
from ..engine_link.engine_view import EngineSource
from ..engine_link.session import EngineState
from ..scene import target
from . import preferences, prompts, request
from .jobs_layout import draw_latest
from .text_layout import draw_text, width_of, without_log

_STATE_TEXTS = {
    EngineState.STOPPED: ("Engine is off", "RADIOBUT_OFF"),
    EngineState.STARTING: ("Engine is starting", "SORTTIME"),
    EngineState.CONNECTING: ("Connecting to the engine", "SORTTIME"),
    EngineState.READY: ("Engine is ready", "CHECKMARK"),
    EngineState.STOPPING: ("Engine is stopping", "SORTTIME"),
    EngineState.LOST: ("Engine is gone", "ERROR"),
}
_SET_UP_TEXTS = {
    EnvironmentState.MISSING: "No engine is set up yet",
    EnvironmentState.HALF: "The engine's set-up was interrupted",
    EnvironmentState.BROKEN: "The Python of the engine is gone",
}
_NARROW = 220.0  # pixels of a sidebar at UI scale 1 in which labels beside fields leave no room


class SidebarPanel:
    """Where all of Marey's panels are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Marey"


class MOTION_PT_engine(SidebarPanel, bpy.types.Panel):
    """State of the engine, and its button."""

    bl_label = "Engine"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        is_off = session.state in (EngineState.STOPPED, EngineState.LOST)
        if is_off and _draw_set_up(layout, context):
            return
        text, icon = _STATE_TEXTS[session.state]
        row = layout.row()
        row.label(text=text, icon=icon)
        if is_off:
            again = session.state is EngineState.LOST
            row.operator("motion.engine_start", text="Start Again" if again else "Start")
        else:
            is_own = session.process is not None
            row.operator("motion.engine_stop", text="Stop" if is_own else "Disconnect")
        if session.message:
            draw_text(layout, context, without_log(session.message))
            if without_log(session.message) != session.message:
                layout.operator("motion.open_log", icon="TEXT")
        welcome = session.client.welcome if session.client is not None else None
        if welcome is not None:
            text = iface_("{}, version {}").format(welcome.device, welcome.engine_version)
            layout.label(text=text, icon="MEMORY", translate=False)


class MOTION_PT_request(SidebarPanel, bpy.types.Panel):
    """What to generate."""

    bl_label = "Motion"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = context.scene.motion
        _draw_prompts(layout, settings)
        column = layout.column()
        column.use_property_split = width_of(context) >= _NARROW
        column.use_property_decorate = False
        _draw_time(column, context.scene)
        column.separator()
        column.prop(settings, "count")
        _draw_seed(column, settings)
        _draw_model(column, context, settings)
        _draw_target(layout, context)
        row = layout.row()
        row.scale_y = 1.5
        text = iface_("Generate")
        if settings.count > 1:
            text = iface_("Generate {} Candidates").format(settings.count)
        row.operator("motion.generate", text=text, icon="PLAY", translate=False)
        draw_latest(layout, context)


class MOTION_PT_quality(SidebarPanel, bpy.types.Panel):
    """Options that few need."""

    bl_label = "Quality"
    bl_parent_id = "MOTION_PT_request"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(context.scene.motion, "num_steps")
        layout.prop(context.scene.motion, "guidance_scale")
        model = chosen_model(context.scene.motion.model)
        if model is not None and model.num_steps:
            words = iface_("This model's defaults: {} steps, guidance {:g}")
            draw_text(layout, context, words.format(model.num_steps, model.guidance_scale))


class MOTION_MT_models(bpy.types.Menu):
    """The engine's models."""

    bl_label = "Model"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator("motion.choose_model", text="Default").model = ""
        for model in session.models():
            if "prompt" in model.accepts:
                text = f"{model.name}: {short_licence(model.licence)}"
                entry = layout.operator("motion.choose_model", text=text, translate=False)
                entry.model, entry.licence = model.name, model.licence
        if not session.models():
            layout.label(text="More are listed once the engine runs")


def chosen_model(name: str) -> protocol.ModelEntry | None:
    """The model that a setting means, where the engine has listed its models."""
    return next((entry for entry in session.models() if prompts.is_meant(entry, name)), None)


def short_licence(licence: str) -> str:
    """The first sentence of a licence."""
    return licence.partition(". ")[0].rstrip(".") or str(iface_("no licence given"))


def _draw_set_up(layout: bpy.types.UILayout, context: bpy.types.Context) -> bool:
    """The way to an engine, where there is none; whether it was drawn."""
    view, set_up = session.engine_view, session.set_up
    if view is None:
        preferences.look_soon()
        return False
    if set_up.is_busy:
        share = set_up.share if set_up.phase is SetUpPhase.RUNNING else 0.0
        layout.progress(factor=share, type="BAR", text=set_up.text)
        layout.operator("motion.cancel_set_up", text="Cancel Set-Up", icon="X")
        return True
    if view.is_there or view.source is not EngineSource.ENVIRONMENT:
        return False
    draw_text(layout, context, _SET_UP_TEXTS.get(view.state, "No engine is set up"), icon="INFO")
    if set_up.phase is SetUpPhase.FAILED:
        draw_text(layout, context, set_up.error, icon="ERROR")
    row = layout.row(align=True)
    row.scale_y = 1.5
    if set_up.phase is SetUpPhase.PLANNED and set_up.plan is not None:
        row.operator("motion.install_engine", text="Install…", icon="IMPORT")
    else:
        row.operator("motion.set_up_engine", text="Set Up Engine…", icon="IMPORT")
    row.operator("motion.show_preferences", text="", icon="PREFERENCES")
    return True


def _draw_prompts(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """What is done, and what then."""
    row = layout.row(align=True)
    row.prop(settings, "prompt", text="")
    row.menu("MOTION_MT_prompts", text="", icon="DOWNARROW_HLT")
    for index, part in enumerate(settings.then):
        row = layout.row(align=True)
        split = row.split(factor=0.7, align=True)
        split.prop(part, "prompt", text="", placeholder=iface_("then …"))
        split.prop(part, "seconds", text="")
        row.operator("motion.remove_prompt", text="", icon="X").index = index
    row = layout.row()
    row.alignment = "LEFT"
    row.operator("motion.add_prompt", icon="ADD", emboss=False)


def _draw_time(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """How long, from when, and whether it goes round."""
    settings = scene.motion
    row = layout.row(align=True)
    row.prop(settings, "length", expand=True)
    if settings.length == "SECONDS":
        layout.prop(settings, "seconds", text="First" if len(settings.then) else "Seconds")
    row = layout.row(align=True)
    row.prop(settings, "begin", expand=True)
    if settings.begin == "MARKER":
        row = layout.row()
        row.alert = settings.marker not in scene.timeline_markers
        row.prop_search(settings, "marker", scene, "timeline_markers", text="At", icon="MARKER_HLT")
    row = layout.row(heading="Cycle")
    row.prop(settings, "loop")
    if settings.loop:
        row.prop(settings, "repeat")


def _draw_seed(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    row = layout.row(align=True)
    field = row.row(align=True)
    field.active = settings.lock_seed
    field.prop(settings, "seed")
    row.operator("motion.new_seed", text="", icon="FILE_REFRESH")
    icon = "LOCKED" if settings.lock_seed else "UNLOCKED"
    row.prop(settings, "lock_seed", text="", icon=icon)


def _draw_model(
    layout: bpy.types.UILayout, context: bpy.types.Context, settings: bpy.types.PropertyGroup
) -> None:
    """The model's name, and what its licence allows."""
    split = layout.split(factor=0.4) if layout.use_property_split else layout
    label = split.row()
    label.alignment = "RIGHT" if layout.use_property_split else "LEFT"
    label.label(text="Model")
    model = chosen_model(settings.model)
    name = settings.model or (f"{model.name}" if model is not None else iface_("Default"))
    split.menu("MOTION_MT_models", text=name)
    if model is not None:
        draw_text(layout, context, short_licence(model.licence), icon="CHECKMARK")
    elif settings.model and session.models():
        words = iface_("There is no model {} here: choose another one")
        draw_text(layout, context, words.format(settings.model), icon="ERROR")


def _draw_target(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    armature = context.object
    if armature is None or armature.type != "ARMATURE":
        draw_text(layout, context, "Select an armature, or", icon="INFO")
        layout.operator("motion.add_mannequin", icon="OUTLINER_OB_ARMATURE")
        return
    target.prepare(armature)  # the panel Target may be closed
    try:
        begin = request.begin_frame(context.scene)
        end = begin + request.num_frames(context.scene) - 1
    except request.SettingsError as error:
        draw_text(layout, context, str(error), icon="ERROR")
        return
    words = iface_("{}, frames {} to {}").format(armature.name, begin, end)
    draw_text(layout, context, words, icon="ARMATURE_DATA")
