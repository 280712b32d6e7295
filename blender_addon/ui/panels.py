"""The tab "Marey" in the 3D viewport's sidebar. Drawing only reads; it never works or waits."""

from __future__ import annotations

import textwrap

import bpy
from bpy.app.translations import pgettext_iface

from ..engine_link import session
from ..engine_link.jobs import Job, JobState
from ..engine_link.session import EngineState

_STATE_TEXTS = {
    EngineState.STOPPED: ("Engine is off", "RADIOBUT_OFF"),
    EngineState.STARTING: ("Engine is starting", "SORTTIME"),
    EngineState.CONNECTING: ("Connecting to the engine", "SORTTIME"),
    EngineState.READY: ("Engine is ready", "CHECKMARK"),
    EngineState.STOPPING: ("Engine is stopping", "SORTTIME"),
    EngineState.LOST: ("Engine is gone", "ERROR"),
}
_JOB_ICONS = {
    JobState.DONE: "CHECKMARK",
    JobState.FAILED: "ERROR",
    JobState.CANCELLED: "CANCEL",
}
_SHOWN_JOBS = 8
_PIXELS_PER_LETTER = 7.0


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
        text, icon = _STATE_TEXTS[session.state]
        row = layout.row()
        row.label(text=text, icon=icon)
        if session.state in (EngineState.STOPPED, EngineState.LOST):
            again = session.state is EngineState.LOST
            row.operator("motion.engine_start", text="Start Again" if again else "Start")
        else:
            is_own = session.process is not None
            row.operator("motion.engine_stop", text="Stop" if is_own else "Disconnect")
        if session.message:
            draw_text(layout, context, session.message)
        welcome = session.client.welcome if session.client is not None else None
        if welcome is not None:
            layout.label(text=f"{welcome.device}, version {welcome.engine_version}", icon="MEMORY")


class MOTION_PT_request(SidebarPanel, bpy.types.Panel):
    """What to generate."""

    bl_label = "Motion"
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = context.scene.motion
        layout.prop(settings, "prompt", text="")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "seconds")
        row = column.row(align=True)
        row.prop(settings, "seed")
        row.operator("motion.new_seed", text="", icon="FILE_REFRESH")
        split = column.split(factor=0.4)
        label = split.row()
        label.alignment = "RIGHT"
        label.label(text="Model")
        split.menu("MOTION_MT_models", text=settings.model or "Default")
        _draw_target(layout, context)
        row = layout.row()
        row.scale_y = 1.5
        row.operator("motion.generate", text="Generate", icon="PLAY")


class MOTION_PT_quality(SidebarPanel, bpy.types.Panel):
    """Options that few need."""

    bl_label = "Quality"
    bl_parent_id = "MOTION_PT_request"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(context.scene.motion, "num_steps")
        layout.prop(context.scene.motion, "guidance_scale")


class MOTION_PT_jobs(SidebarPanel, bpy.types.Panel):
    """What has been asked for, the latest first."""

    bl_label = "Jobs"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return len(session.jobs) > 0

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        jobs = list(session.jobs)[::-1]
        for job in jobs[:_SHOWN_JOBS]:
            _draw_job(layout.box(), context, job)
        if len(jobs) > _SHOWN_JOBS:
            layout.label(text=f"and {len(jobs) - _SHOWN_JOBS} older")
        layout.operator("motion.clear", icon="TRASH")


class MOTION_MT_models(bpy.types.Menu):
    """The engine's models."""

    bl_label = "Model"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator("motion.choose_model", text="Default").model = ""
        for model in session.models():
            if "prompt" in model.accepts:
                entry = layout.operator("motion.choose_model", text=model.name)
                entry.model, entry.licence = model.name, model.licence
        if not session.models():
            layout.label(text="More are listed once the engine runs")


def _draw_target(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    armature = context.object
    if armature is not None and armature.type == "ARMATURE":
        frame = context.scene.frame_current
        layout.label(text=f"{armature.name}, from frame {frame}", icon="ARMATURE_DATA")
        return
    layout.label(text="Select the armature to animate, or", icon="INFO")
    layout.operator("motion.add_mannequin", icon="OUTLINER_OB_ARMATURE")


def _draw_job(layout: bpy.types.UILayout, context: bpy.types.Context, job: Job) -> None:
    row = layout.row()
    row.label(text=job.prompt, icon=_JOB_ICONS.get(job.state, "SORTTIME"))
    if not job.state.is_end:
        row.operator("motion.cancel", text="", icon="X").job_id = job.job_id
        layout.progress(factor=job.progress, type="BAR", text=_progress_text(job))
    elif job.state is JobState.DONE:
        layout.label(text=f"Keyed on {job.armature_name}")
    elif job.state is JobState.CANCELLED:
        layout.label(text="Cancelled")
    else:
        draw_text(layout, context, job.message)
    for warning in job.warnings:
        draw_text(layout, context, warning)


def _progress_text(job: Job) -> str:
    if job.cancel_requested:
        return "Cancelling"
    if job.state is JobState.QUEUED and job.position > 0:
        return f"Waits for {job.position} more"
    return f"{job.progress:.0%}" if job.state is JobState.RUNNING else "Sent"


def draw_text(
    layout: bpy.types.UILayout, context: bpy.types.Context, text: str, *, icon: str = "NONE"
) -> None:
    """A text, translated, over as many lines as the sidebar's width needs."""
    scale = context.preferences.system.ui_scale
    width = context.region.width / scale if context.region is not None else 200.0
    column = layout.column(align=True)
    column.scale_y = 0.8
    letters = int((width - (40 if icon == "NONE" else 62)) / _PIXELS_PER_LETTER)
    for number, line in enumerate(textwrap.wrap(pgettext_iface(text), max(20, letters))):
        if icon == "NONE":
            column.label(text=line, translate=False)
        else:
            column.label(text=line, icon="BLANK1" if number else icon, translate=False)
