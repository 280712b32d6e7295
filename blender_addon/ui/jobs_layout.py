"""How jobs look: what has been asked for, how far it is, and what to do where it failed."""

from __future__ import annotations

from pathlib import PurePath

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..engine_link import session
from ..engine_link.jobs import Job, JobKind, JobState
from .text_layout import draw_text, without_log

_JOB_ICONS = {
    JobState.DONE: "CHECKMARK",
    JobState.FAILED: "ERROR",
    JobState.CANCELLED: "CANCEL",
}
_SHOWN_JOBS = 8
_SHOWN_BARS = 3


def draw_jobs(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The whole list, the latest first."""
    jobs = list(session.jobs)[::-1]
    for job in jobs[:_SHOWN_JOBS]:
        _draw_job(layout.box(), context, job)
    if len(jobs) > _SHOWN_JOBS:
        layout.label(text=iface_("and {} older").format(len(jobs) - _SHOWN_JOBS), translate=False)
    layout.operator("motion.clear", icon="TRASH")


def draw_latest(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is under way, or what is to be said of the last job: right below its button."""
    for job in session.jobs.active[-_SHOWN_BARS:]:
        row = layout.row(align=True)
        row.progress(factor=job.progress, type="BAR", text=progress_text(job))
        row.operator("motion.cancel", text="", icon="X").job_id = job.job_id
    last = next(reversed(list(session.jobs)), None)
    if last is not None and last.state is JobState.FAILED:
        draw_text(layout, context, without_log(last.message), icon="ERROR")
        if last.next_step:
            draw_text(layout, context, last.next_step, icon="INFO")
        _draw_ways_on(layout, last)
    elif last is not None and last.state is JobState.DONE:
        for warning in last.warnings:
            draw_text(layout, context, warning, icon="QUESTION")


def _draw_job(layout: bpy.types.UILayout, context: bpy.types.Context, job: Job) -> None:
    row = layout.row()
    row.label(text=job.prompt, icon=_JOB_ICONS.get(job.state, "SORTTIME"), translate=False)
    if not job.state.is_end:
        row.operator("motion.cancel", text="", icon="X").job_id = job.job_id
        layout.progress(factor=job.progress, type="BAR", text=progress_text(job))
    elif job.state is JobState.DONE:
        layout.label(text=_done_text(job), translate=False)
        if job.overlay:
            layout.operator("motion.show_overlay", icon="SEQUENCE").job_id = job.job_id
            layout.operator("wm.path_open", icon="PLAY", text="Play").filepath = job.overlay
    elif job.state is JobState.CANCELLED:
        layout.label(text="Cancelled")
    else:
        draw_text(layout, context, without_log(job.message))
        if job.next_step:
            draw_text(layout, context, job.next_step, icon="INFO")
    for warning in job.warnings:
        draw_text(layout, context, warning, icon="QUESTION")
    if job.state in (JobState.FAILED, JobState.CANCELLED):
        _draw_ways_on(layout, job)


def _draw_ways_on(layout: bpy.types.UILayout, job: Job) -> None:
    row = layout.row(align=True)
    if job.request is not None:
        row.operator("motion.retry", icon="FILE_REFRESH").job_id = job.job_id
    if job.state is JobState.FAILED:
        row.operator("motion.copy_details", icon="COPYDOWN").job_id = job.job_id


def progress_text(job: Job) -> str:
    """How far a job is, in words for its bar."""
    if job.cancel_requested:
        return str(iface_("Cancelling"))
    if job.state is JobState.QUEUED and job.position > 0:
        return iface_("Waits for {} more").format(job.position)
    if job.state is not JobState.RUNNING:
        return str(iface_("Sent"))
    if job.seconds_left is None or job.seconds_left < 1:
        return f"{job.progress:.0%}"
    return iface_("{:.0%}, {} left").format(job.progress, _duration(job.seconds_left))


def _duration(seconds: float) -> str:
    if seconds < 60:
        return iface_("{:.0f} s").format(seconds)
    return iface_("{:.0f} min").format(seconds / 60)


def _done_text(job: Job) -> str:
    if job.kind is JobKind.PEOPLE:
        return str(iface_("People were looked for"))
    if job.kind is JobKind.OVERLAY:
        return iface_("Overlay {}").format(PurePath(job.overlay).name)
    if job.count > 1:
        return iface_("{} candidates for {}").format(job.num_written, job.armature_name)
    return iface_("Keyed on {}").format(job.armature_name)
