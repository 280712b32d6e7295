"""Operators of the job list: cancel, try again, copy details, clear."""

from __future__ import annotations

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.bug_report import Report, write_report
from ..engine_link.client import EngineLinkError
from ..engine_link.engine_environment import release
from ..engine_link.jobs import Job
from ..engine_link.session import EngineState
from ..scene import pump
from . import request


class _OnJob:
    """Operators of one job."""

    job_id: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def job(self) -> Job | None:
        """The job, unless it has been cleared."""
        return session.jobs.get(self.job_id)


class MOTION_OT_cancel(_OnJob, bpy.types.Operator):
    """Cancel a job"""

    bl_idname = "motion.cancel"
    bl_label = "Cancel"
    bl_description = "Stop this job. The engine goes on with the next one"

    def execute(self, context: bpy.types.Context) -> set[str]:
        job = self.job()
        if job is None or job.state.is_end or session.client is None:
            self.report({"WARNING"}, "The job has ended already")
            return {"CANCELLED"}
        try:
            session.client.send(protocol.CancelJob(job_id=job.job_id))
        except EngineLinkError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        job.cancel_requested = True
        pump.start()
        return {"FINISHED"}


class MOTION_OT_retry(_OnJob, bpy.types.Operator):
    """Try a job again"""

    bl_idname = "motion.retry"
    bl_label = "Try Again"
    bl_description = "Ask for the same once more: the same words, seed and frames"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.state is EngineState.READY:
            return True
        cls.poll_message_set("Start the engine first")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        job = self.job()
        if job is None or not job.state.is_end or job.request is None:
            self.report({"WARNING"}, "This job can't be tried again")
            return {"CANCELLED"}
        try:
            request.send(request.again(job))
        except (protocol.ProtocolError, EngineLinkError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        session.jobs.remove(job.job_id)
        return {"FINISHED"}


class MOTION_OT_copy_details(_OnJob, bpy.types.Operator):
    """Copy the details of a job"""

    bl_idname = "motion.copy_details"
    bl_label = "Copy Details"
    bl_description = (
        "Copy what was asked and what went wrong to the clipboard, for a bug report. Names of "
        "folders are left out, and nothing is sent"
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        job = self.job()
        if job is None:
            self.report({"WARNING"}, "The job is not in the list any more")
            return {"CANCELLED"}
        report = Report(facts=_facts(job), logs=[("details", job.detail.splitlines())])
        text = write_report(report, with_paths=False, with_prompts=True)
        context.window_manager.clipboard = text
        self.report({"INFO"}, "Copied the details to the clipboard")
        return {"FINISHED"}


class MOTION_OT_clear(bpy.types.Operator):
    """Clear the job list"""

    bl_idname = "motion.clear"
    bl_label = "Clear List"
    bl_description = "Take the jobs that have ended off the list. Their actions stay"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if any(job.state.is_end for job in session.jobs):
            return True
        cls.poll_message_set("No job has ended")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.jobs.remove_ended()
        return {"FINISHED"}


def _facts(job: Job) -> list[tuple[str, str]]:
    welcome = session.client.welcome if session.client is not None else None
    engine = f"{welcome.engine_version} on {welcome.device}" if welcome is not None else "none"
    facts = [
        ("Marey", release().version),
        ("Blender", bpy.app.version_string),
        ("Engine", engine),
        ("Job", f"{job.state.value}: {job.prompt}"),
        ("Message", job.message or "none"),
        ("Kind", job.code or "none"),
    ]
    wanted = job.request
    if wanted is not None and not isinstance(wanted, protocol.PeopleRequest):
        model = wanted.model or "default"
        facts.append(("Model", f"{model}, seed {wanted.seed}, {wanted.count} candidates"))
        facts.append(("Length", f"{wanted.num_frames} frames at {wanted.fps:g} fps"))
    facts += [("Warning", warning) for warning in job.warnings]
    return facts
